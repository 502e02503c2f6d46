// Timestamp clients written in Java, on the tokens of a folder: one line of JSON for each verdict.
//
// The folder is described in tests/interop/case_folder.py. A client's own words are passed on as they are.

import com.sun.net.httpserver.HttpServer;
import eu.europa.esig.dss.enumerations.TimestampType;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.spi.x509.tsp.TimestampToken;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Provider;
import java.security.Security;
import java.security.Timestamp;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import jdk.security.jarsigner.JarSigner;
import net.jsign.DigestAlgorithm;
import net.jsign.timestamp.RFC3161Timestamper;
import org.bouncycastle.asn1.ASN1Primitive;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SignerInformationStore;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.TimeStampToken;

public final class Interop {
    private static final Provider BC = new BouncyCastleProvider();

    /** A client; it throws what it says against a token. */
    private interface Client {
        void verify(Path folder, Path token, boolean right) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Client> clients = new LinkedHashMap<>();
        // The JDK is first, on its own algorithms; then Bouncy Castle is installed, as its users and DSS have it.
        clients.put("jarsigner", new Jar()::verify);
        clients.put("bouncycastle", Interop::bouncyCastle);
        clients.put("dss", Interop::dss);
        clients.put("jsign", Interop::jsign);
        Path folder = Path.of(arguments[0]);
        for (Map.Entry<String, Client> client : clients.entrySet()) {
            if (!client.getKey().equals("jarsigner")) Security.addProvider(BC);
            List<Path> tokens;
            try (Stream<Path> found = Files.list(folder)) {
                tokens = found.filter(path -> Files.exists(path.resolve("reply.tsr"))).sorted().toList();
            }
            for (Path token : tokens) {
                for (boolean right : new boolean[] {true, false}) {
                    String error = null;
                    try {
                        client.getValue().verify(folder, token, right);
                    } catch (Exception | LinkageError caught) {
                        error = explain(caught);
                    }
                    System.out.printf("{\"client\":%s,\"key\":%s,\"artifact\":%s,\"error\":%s}%n",
                        quote(client.getKey()), quote(token.getFileName().toString()),
                        quote(right ? "artifact" : "other"), error == null ? "null" : quote(error));
                }
            }
        }
        System.exit(0); // The HTTP server's thread would go on.
    }

    private static void bouncyCastle(Path folder, Path place, boolean right) throws Exception {
        TimeStampToken token = new TimeStampResponse(Files.readAllBytes(place.resolve("reply.tsr"))).getTimeStampToken();
        token.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider(BC).build(certificate(place, "signer", BC)));
        byte[] digest = java.security.MessageDigest.getInstance("SHA-256").digest(artifact(folder, right));
        require(java.util.Arrays.equals(digest, token.getTimeStampInfo().getMessageImprintDigest()), "another imprint");
        List<X509Certificate> path = List.of(certificate(place, "signer", BC), certificate(place, "intermediate", BC));
        checkPath(CertificateFactory.getInstance("X.509", BC).generateCertPath(path), place,
            token.getTimeStampInfo().getGenTime(), BC);
    }

    private static void dss(Path folder, Path place, boolean right) throws Exception {
        TimestampToken token =
            new TimestampToken(Files.readAllBytes(place.resolve("token.der")), TimestampType.CONTENT_TIMESTAMP);
        CertificateToken signer = new CertificateToken(certificate(place, "signer", BC));
        require(token.matchData(new InMemoryDocument(artifact(folder, right))), "the imprint does not match");
        require(token.isSignedBy(signer), "the signature is not valid: " + token.getInvalidityReason());
        CertificateToken intermediate = new CertificateToken(certificate(place, "intermediate", BC));
        require(signer.isSignedBy(intermediate), "the certificate's signature is not valid");
        require(intermediate.isSignedBy(new CertificateToken(certificate(place, "root", BC))),
            "the intermediate's signature is not valid");
    }

    /** Jsign asks by itself, and checks no more of a reply than that it is for its request. */
    private static void jsign(Path folder, Path place, boolean right) throws Exception {
        HttpServer server = null;
        String url = Files.readString(place.resolve("url"));
        if (!right) {
            byte[] reply = Files.readAllBytes(place.resolve("reply.tsr"));
            server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
            server.createContext("/", exchange -> {
                exchange.getRequestBody().readAllBytes();
                exchange.getResponseHeaders().set("Content-Type", "application/timestamp-reply");
                exchange.sendResponseHeaders(200, reply.length);
                exchange.getResponseBody().write(reply);
                exchange.close();
            });
            server.start();
            url = "http://127.0.0.1:" + server.getAddress().getPort() + "/";
        }
        try {
            new Jsign().ask(url, artifact(folder, right));
        } finally {
            if (server != null) server.stop(0);
        }
    }

    private static final class Jsign extends RFC3161Timestamper {
        void ask(String url, byte[] data) throws Exception {
            tsaurl = URI.create(url).toURL();
            require(timestamp(DigestAlgorithm.SHA256, data) != null, "no token");
        }
    }

    /** The library behind jarsigner: signs a jar with a timestamp, and reads it again. */
    private static final class Jar {
        private final KeyPair key;
        private final CertPath signer;

        Jar() throws Exception {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
            generator.initialize(2048);
            key = generator.generateKeyPair();
            X500Name name = new X500Name("CN=Coder");
            Date from = new Date(System.currentTimeMillis() - 86_400_000L);
            Date to = new Date(System.currentTimeMillis() + 86_400_000L);
            X509Certificate made = new JcaX509CertificateConverter().getCertificate(
                new JcaX509v3CertificateBuilder(name, BigInteger.ONE, from, to, name, key.getPublic())
                    .build(new JcaContentSignerBuilder("SHA256withRSA").build(key.getPrivate())));
            signer = CertificateFactory.getInstance("X.509").generateCertPath(List.of(made));
        }

        void verify(Path folder, Path place, boolean right) throws Exception {
            byte[] jar = sign(artifact(folder, true), place);
            if (!right) jar = withToken(jar, Files.readAllBytes(place.resolve("token.der")));
            Path file = Files.createTempFile("interop", ".jar");
            try {
                Files.write(file, jar);
                Timestamp timestamp = timestamp(file);
                checkPath(timestamp.getSignerCertPath(), place, timestamp.getTimestamp(), null);
            } finally {
                Files.delete(file);
            }
        }

        private byte[] sign(byte[] data, Path place) throws Exception {
            Path plain = Files.createTempFile("interop", ".zip");
            try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(plain))) {
                zip.putNextEntry(new ZipEntry("data"));
                zip.write(data);
            }
            ByteArrayOutputStream signed = new ByteArrayOutputStream();
            try (ZipFile zip = new ZipFile(plain.toFile())) {
                new JarSigner.Builder(key.getPrivate(), signer).digestAlgorithm("SHA-256")
                    .signatureAlgorithm("SHA256withRSA").tsa(URI.create(Files.readString(place.resolve("url")))).build()
                    .sign(zip, signed);
            } finally {
                Files.delete(plain);
            }
            return signed.toByteArray();
        }

        private static Timestamp timestamp(Path file) throws Exception {
            try (JarFile jar = new JarFile(file.toFile(), true)) {
                JarEntry entry = jar.getJarEntry("data");
                try (InputStream data = jar.getInputStream(entry)) {
                    data.readAllBytes();
                }
                require(entry.getCodeSigners() != null, "the jar is treated as unsigned");
                Timestamp timestamp = entry.getCodeSigners()[0].getTimestamp();
                require(timestamp != null, "the jar is treated as signed without a timestamp");
                return timestamp;
            }
        }

        /** Returns the jar with a timestamp token of something else. */
        private static byte[] withToken(byte[] jar, byte[] token) throws Exception {
            Map<String, byte[]> files = unzip(jar);
            String name = files.keySet().stream().filter(path -> path.endsWith(".RSA")).findFirst().orElseThrow();
            CMSSignedData signature = new CMSSignedData(files.get(name));
            SignerInformation signer = signature.getSignerInfos().getSigners().iterator().next();
            Attribute other = new Attribute(
                PKCSObjectIdentifiers.id_aa_signatureTimeStampToken, new DERSet(ASN1Primitive.fromByteArray(token)));
            SignerInformation changed =
                SignerInformation.replaceUnsignedAttributes(signer, new AttributeTable(other));
            CMSSignedData result = CMSSignedData.replaceSigners(signature, new SignerInformationStore(changed));
            files.put(name, result.getEncoded("DER"));
            ByteArrayOutputStream output = new ByteArrayOutputStream();
            try (ZipOutputStream zip = new ZipOutputStream(output)) {
                for (Map.Entry<String, byte[]> file : files.entrySet()) {
                    zip.putNextEntry(new ZipEntry(file.getKey()));
                    zip.write(file.getValue());
                }
            }
            return output.toByteArray();
        }

        private static Map<String, byte[]> unzip(byte[] jar) throws Exception {
            Map<String, byte[]> files = new LinkedHashMap<>();
            try (ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(jar))) {
                for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                    files.put(entry.getName(), zip.readAllBytes());
                }
            }
            return files;
        }
    }

    private static void checkPath(CertPath path, Path place, Date at, Provider provider) throws Exception {
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(certificate(place, "root", provider), null)));
        parameters.setRevocationEnabled(false);
        parameters.setDate(at);
        // RFC 3161 has the extended key usage critical, which the path's rules leave to their caller.
        parameters.addCertPathChecker(new TimestampingUsage());
        CertPathValidator validator = provider == null
            ? CertPathValidator.getInstance("PKIX") : CertPathValidator.getInstance("PKIX", provider);
        validator.validate(path, parameters);
    }

    private static final class TimestampingUsage extends java.security.cert.PKIXCertPathChecker {
        @Override public void init(boolean forward) {}
        @Override public boolean isForwardCheckingSupported() { return true; }
        @Override public Set<String> getSupportedExtensions() { return Set.of("2.5.29.37"); }
        @Override public void check(java.security.cert.Certificate one, java.util.Collection<String> critical) {
            critical.remove("2.5.29.37");
        }
    }

    private static byte[] artifact(Path folder, boolean right) throws Exception {
        return Files.readAllBytes(folder.resolve(right ? "artifact" : "other"));
    }

    private static X509Certificate certificate(Path place, String name, Provider provider) throws Exception {
        CertificateFactory factory = provider == null
            ? CertificateFactory.getInstance("X.509") : CertificateFactory.getInstance("X.509", provider);
        try (InputStream data = Files.newInputStream(place.resolve(name + ".der"))) {
            return (X509Certificate) factory.generateCertificate(data);
        }
    }

    private static void require(boolean condition, String otherwise) throws Exception {
        if (!condition) throw new Exception(otherwise);
    }

    private static String explain(Throwable error) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (text.length() > 0) text.append(": ");
            text.append(cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage());
        }
        return text.toString();
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char one : text.toCharArray()) {
            if (one == '"' || one == '\\') quoted.append('\\').append(one);
            else if (one < ' ') quoted.append(' ');
            else quoted.append(one);
        }
        return quoted.append('"').toString();
    }
}
