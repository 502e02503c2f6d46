// EU DSS validates a timestamp by a trusted list of the test's own, without any network.
//
// Arguments are folders. Each has lotl.xml and tl.xml, not signed yet; lotl.p12 and tl.p12 with the keys that sign them (password "test");
// lotl.cer, the certificate of lotl.p12; token.der and data. Prints FOLDER <tab> NAME <tab> VALUE:
//   list URL        what DSS says of the signature of a trusted list
//   indication      of the timestamp, with the subindication
//   qualification   QTSA, TSA or N_A, and a line for each of the reasons
import eu.europa.esig.dss.diagnostic.DiagnosticData;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.enumerations.DigestAlgorithm;
import eu.europa.esig.dss.jaxb.object.Message;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.DSSException;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.tsl.LOTLInfo;
import eu.europa.esig.dss.model.tsl.TLInfo;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.client.http.DSSFileLoader;
import eu.europa.esig.dss.spi.tsl.TrustedListsCertificateSource;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonCertificateSource;
import eu.europa.esig.dss.token.DSSPrivateKeyEntry;
import eu.europa.esig.dss.token.Pkcs12SignatureToken;
import eu.europa.esig.dss.tsl.job.TLValidationJob;
import eu.europa.esig.dss.tsl.source.LOTLSource;
import eu.europa.esig.dss.validation.reports.Reports;
import eu.europa.esig.dss.validation.timestamp.DetachedTimestampValidator;
import eu.europa.esig.dss.xades.XAdESSignatureParameters;
import eu.europa.esig.dss.xades.signature.XAdESService;
import eu.europa.esig.dss.xades.tsl.TrustedListV6SignatureParametersBuilder;
import java.io.File;
import java.nio.file.Path;
import java.security.KeyStore.PasswordProtection;
import java.util.HashMap;
import java.util.Map;

public class QualifiedJudge {
    static final String LOTL = "https://lists.example.org/lotl.xml";
    static final String TL = "https://lists.example.org/tl.xml";

    /** Has every document in memory; what is not there is not asked of anybody. */
    static final class Documents implements DSSFileLoader {
        private final Map<String, byte[]> documents = new HashMap<>();

        @Override
        public DSSDocument getDocument(String url) throws DSSException {
            byte[] found = documents.get(url);
            if (found == null) {
                throw new DSSException("nobody asks " + url);
            }
            return new InMemoryDocument(found, url);
        }
    }

    static byte[] signed(Path folder, String name) throws Exception {
        FileDocument list = new FileDocument(folder.resolve(name + ".xml").toFile());
        File store = folder.resolve(name + ".p12").toFile();
        try (var token = new Pkcs12SignatureToken(store, new PasswordProtection("test".toCharArray()))) {
            DSSPrivateKeyEntry key = token.getKeys().get(0);
            XAdESSignatureParameters parameters =
                new TrustedListV6SignatureParametersBuilder(key.getCertificate(), list)
                    .setReferenceDigestAlgorithm(DigestAlgorithm.SHA256).build();
            XAdESService service = new XAdESService(new CommonCertificateVerifier());
            var value = token.sign(service.getDataToSign(list, parameters), parameters.getDigestAlgorithm(), key);
            return DSSUtils.toByteArray(service.signDocument(list, parameters, value));
        }
    }

    static TrustedListsCertificateSource trusted(Path folder) throws Exception {
        Documents documents = new Documents();
        documents.documents.put(LOTL, signed(folder, "lotl"));
        documents.documents.put(TL, signed(folder, "tl"));
        CommonCertificateSource signers = new CommonCertificateSource();
        signers.addCertificate(DSSUtils.loadCertificate(folder.resolve("lotl.cer").toFile()));
        LOTLSource lotl = new LOTLSource();
        lotl.setUrl(LOTL);
        lotl.setCertificateSource(signers);
        TrustedListsCertificateSource source = new TrustedListsCertificateSource();
        TLValidationJob job = new TLValidationJob();
        job.setListOfTrustedListSources(lotl);
        job.setTrustedListCertificateSource(source);
        job.setOnlineDataLoader(documents);
        job.onlineRefresh();
        for (LOTLInfo list : job.getSummary().getLOTLInfos()) {
            tell(list);
            list.getTLInfos().forEach(QualifiedJudge::tell);
        }
        return source;
    }

    static void tell(TLInfo list) {
        var cache = list.getDownloadCacheInfo();
        if (list.getValidationCacheInfo().isError() || list.getParsingCacheInfo().isError() || cache.isError()) {
            say("list " + list.getUrl(), "error " + list.getValidationCacheInfo().getExceptionMessage() + " "
                + list.getParsingCacheInfo().getExceptionMessage() + " " + cache.getExceptionMessage());
            return;
        }
        say("list " + list.getUrl(), list.getValidationCacheInfo().getIndication() + " "
            + list.getParsingCacheInfo().getStructureValidationMessages());
    }

    static Path judged;

    static void say(String name, Object value) {
        System.out.println(judged + "\t" + name + "\t" + value);
    }

    public static void main(String[] arguments) throws Exception {
        for (String argument : arguments) {
            judged = Path.of(argument);
            judge(judged);
        }
    }

    static void judge(Path folder) throws Exception {
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(trusted(folder));
        var validator = new DetachedTimestampValidator(new FileDocument(folder.resolve("token.der").toFile()));
        validator.setTimestampedData(new FileDocument(folder.resolve("data").toFile()));
        validator.setCertificateVerifier(verifier);
        Reports reports = validator.validateDocument();
        SimpleReport report = reports.getSimpleReport();
        String id = report.getFirstTimestampId();
        if (System.getenv("JUDGE_VERBOSE") != null) {
            System.err.println(reports.getXmlDetailedReport());
            System.err.println(reports.getXmlDiagnosticData());
        }
        say("indication", report.getIndication(id) + " " + report.getSubIndication(id));
        for (Message message : report.getAdESValidationErrors(id)) {
            say("error", message.getValue());
        }
        for (Message message : report.getAdESValidationWarnings(id)) {
            say("warning", message.getValue());
        }
        say("qualification", report.getTimestampQualification(id));
        for (Message message : report.getQualificationErrors(id)) {
            say("qualification error", message.getValue());
        }
        for (Message message : report.getQualificationWarnings(id)) {
            say("qualification warning", message.getValue());
        }
        DiagnosticData data = reports.getDiagnosticData();
        for (TimestampWrapper timestamp : data.getTimestampList()) {
            say("time", timestamp.getProductionTime().toInstant());
        }
    }
}
