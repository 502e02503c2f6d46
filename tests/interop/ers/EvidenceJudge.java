// BouncyCastle and DSS validate evidence records (RFC 4998), and BouncyCastle makes and renews some.
//
// judge FOLDER
//   for each NAME.ers in FOLDER, with its objects in NAME.single/ or NAME.group/ and the certificates of its last signer
//   and of the roots as *.cer: a line NAME <tab> what BouncyCastle says <tab> what DSS says
// make OUT KEY CERTIFICATE SINGLE GROUP YEAR YEAR YEAR [YEAR]
//   records of the files in SINGLE and of the group GROUP: single-1.ers, group-1.ers; after a timestamp renewal
//   *-2.ers; after a hash tree renewal with SHA-512 *-3.ers; after two timestamp renewals *-again.ers, or why not
import eu.europa.esig.dss.evidencerecord.asn1.validation.ASN1EvidenceRecordValidator;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.validation.reports.Reports;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.math.BigInteger;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.stream.Stream;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculator;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TSPAlgorithms;
import org.bouncycastle.tsp.TimeStampRequest;
import org.bouncycastle.tsp.TimeStampRequestGenerator;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.TimeStampResponseGenerator;
import org.bouncycastle.tsp.TimeStampTokenGenerator;
import org.bouncycastle.tsp.ers.ERSArchiveTimeStampGenerator;
import org.bouncycastle.tsp.ers.ERSData;
import org.bouncycastle.tsp.ers.ERSDataGroup;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;
import org.bouncycastle.tsp.ers.ERSEvidenceRecordGenerator;
import org.bouncycastle.tsp.ers.ERSFileData;

public class EvidenceJudge {
    static final BouncyCastleProvider BC = new BouncyCastleProvider();

    static DigestCalculatorProvider digests() throws Exception {
        return new JcaDigestCalculatorProviderBuilder().setProvider(BC).build();
    }

    static List<File> files(Path folder) throws Exception {
        try (Stream<Path> found = Files.list(folder)) {
            return found.sorted().map(Path::toFile).toList();
        }
    }

    static X509Certificate certificate(Path file) throws Exception {
        try (var in = Files.newInputStream(file)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509", BC).generateCertificate(in);
        }
    }

    static ERSData group(List<File> files) throws Exception {
        List<ERSData> members = new ArrayList<>();
        for (File file : files) {
            members.add(new ERSFileData(file));
        }
        return new ERSDataGroup(members);
    }

    static String bouncyCastle(byte[] encoded, List<File> objects, boolean group, Path signer) {
        try {
            ERSEvidenceRecord record = new ERSEvidenceRecord(encoded, digests());
            ERSData data = group ? group(objects) : new ERSFileData(objects.get(0));
            record.validatePresent(data, new Date());
            record.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider(BC).build(certificate(signer)));
            return "valid";
        } catch (Exception error) {
            return "refused: " + error.getMessage();
        }
    }

    static String dss(byte[] encoded, List<File> objects, List<Path> roots) {
        try {
            CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
            for (Path root : roots) {
                trusted.addCertificate(new CertificateToken(certificate(root)));
            }
            CommonCertificateVerifier verifier = new CommonCertificateVerifier();
            verifier.setTrustedCertSources(trusted);
            ASN1EvidenceRecordValidator validator = new ASN1EvidenceRecordValidator(new InMemoryDocument(encoded));
            validator.setCertificateVerifier(verifier);
            List<DSSDocument> documents = new ArrayList<>();
            for (File object : objects) {
                documents.add(new FileDocument(object));
            }
            validator.setDetachedContents(documents);
            Reports reports = validator.validateDocument(new ByteArrayInputStream(policy()));
            SimpleReport report = reports.getSimpleReport();
            String id = report.getFirstEvidenceRecordId();
            if (System.getenv("JUDGE_VERBOSE") != null) {
                System.err.println(reports.getXmlSimpleReport());
                System.err.println(reports.getXmlDetailedReport());
            }
            return report.getIndication(id) + " " + report.getSubIndication(id) + " "
                + report.getEvidenceRecordPOE(id).toInstant();
        } catch (Exception error) {
            return "error: " + error;
        }
    }

    /** The default policy of DSS, except that a certificate needs no CRL and no OCSP response. */
    static byte[] policy() throws Exception {
        try (var in = EvidenceJudge.class.getResourceAsStream("/policy/constraint.xml")) {
            String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            String changed = text.replaceAll("<RevocationDataAvailable Level=\"[A-Z]+\" ?/>", "");
            if (changed.equals(text)) {
                throw new IllegalStateException("the default policy of DSS is not what it was");
            }
            return changed.getBytes(StandardCharsets.UTF_8);
        }
    }

    static void judge(Path folder) throws Exception {
        List<Path> roots = new ArrayList<>();
        for (File file : files(folder)) {
            if (file.getName().startsWith("root-")) {
                roots.add(file.toPath());
            }
        }
        for (File file : files(folder)) {
            if (!file.getName().endsWith(".ers")) {
                continue;
            }
            String name = file.getName().substring(0, file.getName().length() - 4);
            byte[] encoded = Files.readAllBytes(file.toPath());
            Path single = folder.resolve(name + ".single");
            boolean group = !Files.isDirectory(single);
            List<File> objects = files(group ? folder.resolve(name + ".group") : single);
            System.out.println(name + "\t" + bouncyCastle(encoded, objects, group, folder.resolve(name + ".signer.cer"))
                + "\t" + dss(encoded, objects, roots));
        }
    }

    /** An authority whose clock says what it is told. */
    record Authority(PrivateKey key, X509Certificate certificate) {
        TimeStampResponse answer(TimeStampRequest request, String year) throws Exception {
            DigestCalculator digest = digests().get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256));
            TimeStampTokenGenerator tokens = new TimeStampTokenGenerator(
                new JcaSimpleSignerInfoGeneratorBuilder().setProvider(BC).build("SHA256withECDSA", key, certificate),
                digest, new ASN1ObjectIdentifier("1.2.3.4"));
            tokens.addCertificates(new JcaCertStore(List.of(certificate)));
            TimeStampResponseGenerator responses = new TimeStampResponseGenerator(tokens, TSPAlgorithms.ALLOWED);
            return responses.generate(request, BigInteger.ONE, Date.from(Instant.parse(year + "-01-01T12:00:00Z")));
        }
    }

    static TimeStampRequestGenerator requests() {
        TimeStampRequestGenerator requests = new TimeStampRequestGenerator();
        requests.setCertReq(true);
        return requests;
    }

    static ERSArchiveTimeStampGenerator over(List<ERSData> data, ASN1ObjectIdentifier hash) throws Exception {
        ERSArchiveTimeStampGenerator generator =
            new ERSArchiveTimeStampGenerator(digests().get(new AlgorithmIdentifier(hash)));
        generator.addAllData(data);
        return generator;
    }

    static void write(Path out, String name, ERSEvidenceRecord record) throws Exception {
        Files.write(out.resolve(name + ".ers"), record.getEncoded());
    }

    static void make(String[] words) throws Exception {
        Path out = Path.of(words[1]);
        PrivateKey key = KeyFactory.getInstance("EC", BC)
            .generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(Path.of(words[2]))));
        Authority authority = new Authority(key, certificate(Path.of(words[3])));
        List<ERSData> data = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (File file : files(Path.of(words[4]))) {
            data.add(new ERSFileData(file));
            names.add(file.getName());
        }
        data.add(group(files(Path.of(words[5]))));
        names.add("group");
        ERSArchiveTimeStampGenerator first = over(data, NISTObjectIdentifiers.id_sha256);
        TimeStampResponse answer = authority.answer(first.generateTimeStampRequest(requests()), words[6]);
        List<ERSEvidenceRecord> records =
            new ERSEvidenceRecordGenerator(digests()).generate(first.generateArchiveTimeStamps(answer));
        for (int i = 0; i < records.size(); i++) {
            ERSEvidenceRecord record = records.get(i);
            write(out, names.get(i) + "-1", record);
            answer = authority.answer(record.generateTimeStampRenewalRequest(requests()), words[7]);
            record = record.renewTimeStamp(answer);
            write(out, names.get(i) + "-2", record);
            try {
                answer = authority.answer(record.generateTimeStampRenewalRequest(requests()), words[8]);
                write(out, names.get(i) + "-again", record.renewTimeStamp(answer));
            } catch (Exception error) {
                System.out.println(names.get(i) + ": " + error.getMessage());
            }
            DigestCalculator sha512 = digests().get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha512));
            answer = authority.answer(
                record.generateHashRenewalRequest(sha512, data.get(i), requests()), words[8]);
            record = record.renewHash(sha512, data.get(i), answer);
            write(out, names.get(i) + "-3", record);
        }
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("judge")) {
            judge(Path.of(words[1]));
        } else {
            make(words);
        }
    }
}
