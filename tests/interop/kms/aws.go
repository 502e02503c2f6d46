package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	localkms "github.com/nsmithuk/local-kms/src"
	"github.com/nsmithuk/local-kms/src/config"
	"github.com/nsmithuk/local-kms/src/data"
)

const (
	accessKey = "AKIAJUDGE0000000"
	secretKey = "judge-secret-access-key-7c11"
	region    = "eu-west-1"
	account   = "111122223333"
	// maxSkew is how far a request's time may be from AWS's.
	maxSkew = 5 * time.Minute
)

var authorization = regexp.MustCompile(
	`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/kms/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`)

func serveAws(directory string) {
	config.AWSRegion, config.AWSAccountId, config.DatabasePath = region, account, directory
	database := data.NewDatabase(directory)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /judge", judge)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return
		}
		if code, message := refusal(r, body); code != "" {
			refuse(w, code, message)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		localkms.HandleRequest(w, r, database)
	})
	listener := listen()
	fmt.Printf("http://%s\n", listener.Addr())
	go func() { fail(http.Serve(listener, mux)) }()
}

// refusal returns the code and the message of AWS's refusal of a request, empty for a request that may pass.
func refusal(r *http.Request, body []byte) (string, string) {
	now := current()
	found := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if found == nil {
		return "MissingAuthenticationTokenException", "Missing Authentication Token"
	}
	if found[1] != accessKey {
		return "UnrecognizedClientException", "The security token included in the request is invalid."
	}
	if now.Expired {
		return "ExpiredTokenException", "The security token included in the request is expired"
	}
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || signed.Format("20060102") != found[2] || found[3] != region {
		return "IncompleteSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date"
	}
	const short = "20060102T150405Z"
	here := now.now().UTC()
	if signed.Before(here.Add(-maxSkew)) {
		return "InvalidSignatureException", fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 5 min.)",
			signed.Format(short), here.Add(-maxSkew).Format(short), here.Format(short))
	}
	if signed.After(here.Add(maxSkew)) {
		return "InvalidSignatureException", fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			signed.Format(short), here.Add(maxSkew).Format(short), here.Format(short))
	}
	if !signatureIsRight(r, body, strings.Split(found[4], ";"), signed, found[5]) {
		return "InvalidSignatureException",
			"The request signature we calculated does not match the signature you provided."
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if now.denies(operation) {
		return "AccessDeniedException", fmt.Sprintf(
			"User: arn:aws:iam::%s:user/tsa is not authorized to perform: kms:%s", account, operation)
	}
	if throttled() {
		return "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
	}
	return "", ""
}

// signatureIsRight lets AWS's own signer sign the same request, and compares.
func signatureIsRight(r *http.Request, body []byte, headers []string, signed time.Time, signature string) bool {
	same, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return false
	}
	needed := map[string]bool{"host": true, "x-amz-date": true, "x-amz-target": true}
	for _, name := range headers {
		delete(needed, name)
		if name != "host" {
			same.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	if len(needed) > 0 {
		return false
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	if token := r.Header.Get("X-Amz-Security-Token"); token != "" {
		credentials.SessionToken = token
	}
	err = v4.NewSigner().SignHTTP(
		context.Background(), credentials, same, hex.EncodeToString(sum[:]), "kms", region, signed)
	if err != nil {
		return false
	}
	again := authorization.FindStringSubmatch(same.Header.Get("Authorization"))
	return again != nil && subtle.ConstantTimeCompare([]byte(again[5]), []byte(signature)) == 1
}

func refuse(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if seconds := current().RetrySeconds; seconds > 0 && code == "ThrottlingException" {
		w.Header().Set("Retry-After", fmt.Sprintf("%.0f", seconds))
	}
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
}
