// BouncyCastle reads and makes TimeStampedData (RFC 5544).
//
// judge FILE...            for each file: valid, or why not; the number of tokens; the content's length
// make OUT CONTENT TOKEN   a file with the content and one token
// next IN                  the SHA-256 of what the next token must be over, in hexadecimal
// add OUT IN TOKEN         the file with one token more
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import org.bouncycastle.operator.DigestCalculator;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.tsp.TimeStampToken;
import org.bouncycastle.tsp.cms.CMSTimeStampedData;
import org.bouncycastle.tsp.cms.CMSTimeStampedDataGenerator;

public class TimestampedData {
    static DigestCalculatorProvider digests() throws Exception {
        return new JcaDigestCalculatorProviderBuilder().setProvider(new BouncyCastleProvider()).build();
    }

    static TimeStampToken token(String path) throws Exception {
        return new TimeStampToken(new CMSSignedData(Files.readAllBytes(Path.of(path))));
    }

    static String judge(byte[] file) {
        try {
            CMSTimeStampedData data = new CMSTimeStampedData(file);
            TimeStampToken[] tokens = data.getTimeStampTokens();
            DigestCalculator first = data.getMessageImprintDigestCalculator(digests());
            byte[] content = data.getContent();
            if (content != null) {
                first.getOutputStream().write(content);
            }
            data.validate(digests(), first.getDigest());
            return "valid " + tokens.length + " " + (content == null ? -1 : content.length);
        } catch (Exception error) {
            return "refused " + error.getClass().getSimpleName();
        }
    }

    // Each line of standard input is a command, its words parted by tabs; a line with a dot ends each answer.
    public static void main(String[] none) throws Exception {
        java.io.BufferedReader lines = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            run(line.split("\t"));
            System.out.println(".");
            System.out.flush();
        }
    }

    static void run(String[] words) throws Exception {
        switch (words[0]) {
            case "judge":
                for (int i = 1; i < words.length; i++) {
                    System.out.println(judge(Files.readAllBytes(Path.of(words[i]))));
                }
                break;
            case "make":
                byte[] content = Files.readAllBytes(Path.of(words[2]));
                CMSTimeStampedDataGenerator generator = new CMSTimeStampedDataGenerator();
                generator.setMetaData(true, "contract.txt", "text/plain");
                DigestCalculator over = digests().get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256));
                generator.initialiseMessageImprintDigestCalculator(over);
                over.getOutputStream().write(content);
                if (words.length == 3) {
                    System.out.println(HexFormat.of().formatHex(over.getDigest()));
                } else {
                    Files.write(Path.of(words[1]),
                            generator.generate(token(words[3]), new ByteArrayInputStream(content)).getEncoded());
                }
                break;
            case "next":
                DigestCalculator next = digests().get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256));
                byte[] hash = new CMSTimeStampedData(Files.readAllBytes(Path.of(words[1]))).calculateNextHash(next);
                System.out.println(HexFormat.of().formatHex(hash));
                break;
            case "add":
                CMSTimeStampedData before = new CMSTimeStampedData(Files.readAllBytes(Path.of(words[2])));
                Files.write(Path.of(words[1]), before.addTimeStamp(token(words[3])).getEncoded());
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }
}
