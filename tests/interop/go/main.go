// Timestamp verifiers written in Go, on the tokens of a folder: one line of JSON for each verdict.
//
// The folder is described in tests/interop/case_folder.py. A verifier's own words are passed on as they are.
package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	digitorus "github.com/digitorus/timestamp"
	ietfcms "github.com/github/smimesign/ietf-cms"
	ietftimestamp "github.com/github/smimesign/ietf-cms/timestamp"
	"github.com/notaryproject/tspclient-go"
	"github.com/sassoftware/relic/v8/lib/pkcs7"
	"github.com/sassoftware/relic/v8/lib/pkcs9"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"
)

// token is one reply of the server, with the chain that its verifier trusts.
type token struct {
	reply, bare                []byte
	signer, intermediate, root *x509.Certificate
}

// verdict is one line of the output; Error is nil when the client accepted.
type verdict struct {
	Client   string  `json:"client"`
	Key      string  `json:"key"`
	Artifact string  `json:"artifact"`
	Error    *string `json:"error"`
}

var clients = []struct {
	name   string
	verify func(token, []byte) error
}{
	{"sigstore-go", verifySigstore},
	{"timestamp-authority", verifyTimestampAuthority},
	{"digitorus", verifyDigitorus},
	{"tspclient-go", verifyNotation},
	{"relic", verifyRelic},
	{"ietf-cms", verifyIetfCms},
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: interop FOLDER"))
	}
	folder := os.Args[1]
	replies, err := filepath.Glob(filepath.Join(folder, "*", "reply.tsr"))
	if err != nil || len(replies) == 0 {
		fail(fmt.Errorf("%s has no replies: %v", folder, err))
	}
	output := json.NewEncoder(os.Stdout)
	for _, path := range replies {
		one := readToken(filepath.Dir(path))
		for _, client := range clients {
			for _, artifact := range []string{"artifact", "other"} {
				data := read(filepath.Join(folder, artifact))
				line := verdict{Client: client.name, Key: filepath.Base(filepath.Dir(path)), Artifact: artifact}
				if err := guarded(client.verify, one, data); err != nil {
					text := err.Error()
					line.Error = &text
				}
				if err := output.Encode(line); err != nil {
					fail(err)
				}
			}
		}
	}
}

// guarded turns a panic of a library into its error, so that one bad library does not hide the others' verdicts.
func guarded(verify func(token, []byte) error, one token, artifact []byte) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("panic: %v", caught)
		}
	}()
	return verify(one, artifact)
}

func verifySigstore(one token, artifact []byte) error {
	authority := root.SigstoreTimestampingAuthority{
		Root: one.root, Intermediates: []*x509.Certificate{one.intermediate}, Leaf: one.signer,
		ValidityPeriodStart: one.signer.NotBefore, ValidityPeriodEnd: one.signer.NotAfter,
	}
	_, err := authority.Verify(one.reply, artifact)
	return err
}

func verifyTimestampAuthority(one token, artifact []byte) error {
	_, err := verification.VerifyTimestampResponse(one.reply, bytes.NewReader(artifact), verification.VerifyOpts{
		Roots: []*x509.Certificate{one.root}, Intermediates: []*x509.Certificate{one.intermediate}, TSACertificate: one.signer,
	})
	return err
}

// verifyDigitorus does what the package leaves to its caller too: the imprint and the path.
func verifyDigitorus(one token, artifact []byte) error {
	parsed, err := digitorus.ParseResponse(one.reply)
	if err != nil {
		return err
	}
	digest := parsed.HashAlgorithm.New()
	digest.Write(artifact)
	if !bytes.Equal(digest.Sum(nil), parsed.HashedMessage) {
		return errors.New("the imprint is of another artifact")
	}
	_, err = parsed.Certificates[0].Verify(options(one, parsed.Time))
	return err
}

func verifyNotation(one token, artifact []byte) error {
	var response tspclient.Response
	if err := response.UnmarshalBinary(one.reply); err != nil {
		return err
	}
	signed, err := response.SignedToken()
	if err != nil {
		return err
	}
	info, err := signed.Info()
	if err != nil {
		return err
	}
	at, err := info.Validate(artifact)
	if err != nil {
		return err
	}
	_, err = signed.Verify(context.Background(), options(one, at.Value))
	return err
}

func verifyRelic(one token, artifact []byte) error {
	parsed, err := pkcs7.Unmarshal(one.bare)
	if err != nil {
		return err
	}
	signature, err := pkcs9.Verify(parsed, artifact, nil)
	if err != nil {
		return err
	}
	return signature.VerifyChain(pool(one.root), nil)
}

func verifyIetfCms(one token, artifact []byte) error {
	response, err := ietftimestamp.ParseResponse(one.reply)
	if err != nil {
		return err
	}
	info, err := response.Info()
	if err != nil {
		return err
	}
	imprint, err := ietftimestamp.NewMessageImprint(crypto.SHA256, bytes.NewReader(artifact))
	if err != nil {
		return err
	}
	if !imprint.Equal(info.MessageImprint) {
		return errors.New("the imprint is of another artifact")
	}
	signed, err := ietfcms.ParseSignedData(one.bare)
	if err != nil {
		return err
	}
	_, err = signed.Verify(options(one, info.GenTime))
	return err
}

func options(one token, at time.Time) x509.VerifyOptions {
	return x509.VerifyOptions{
		Roots: pool(one.root), Intermediates: pool(one.intermediate), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	}
}

func pool(certificate *x509.Certificate) *x509.CertPool {
	made := x509.NewCertPool()
	made.AddCert(certificate)
	return made
}

func readToken(folder string) token {
	return token{
		reply:        read(filepath.Join(folder, "reply.tsr")),
		bare:         read(filepath.Join(folder, "token.der")),
		signer:       readCertificate(filepath.Join(folder, "signer.der")),
		intermediate: readCertificate(filepath.Join(folder, "intermediate.der")),
		root:         readCertificate(filepath.Join(folder, "root.der")),
	}
}

func readCertificate(path string) *x509.Certificate {
	certificate, err := x509.ParseCertificate(read(path))
	if err != nil {
		fail(err)
	}
	return certificate
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	return data
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
