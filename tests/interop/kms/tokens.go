package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const email = "tsa@p.iam.gserviceaccount.com"

type serviceAccount struct {
	key *rsa.PrivateKey
}

// writeServiceAccount writes a service account's file as Google hands them out.
func writeServiceAccount(file string) (*serviceAccount, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]string{
		"type":           "service_account",
		"project_id":     "p",
		"private_key_id": "0123456789abcdef",
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   email,
		"client_id":      "1",
		// Nobody asks it: the client signs its own access tokens with the key.
		"token_uri": "http://127.0.0.1:1/token",
	})
	if err != nil {
		return nil, err
	}
	return &serviceAccount{key: key}, os.WriteFile(file, text, 0o600)
}

// check judges the access token of a call, a JWT that the account signed itself, by another library than the client's.
func (a *serviceAccount) check(ctx context.Context, now Faults) error {
	given, _ := metadata.FromIncomingContext(ctx)
	values := given.Get("authorization")
	if len(values) != 1 || !strings.HasPrefix(values[0], "Bearer ") {
		return unauthenticated("CREDENTIALS_MISSING")
	}
	if now.Expired {
		return unauthenticated("ACCESS_TOKEN_EXPIRED")
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(email), jwt.WithSubject(email), jwt.WithIssuedAt(),
		jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Minute), jwt.WithTimeFunc(now.now))
	_, err := parser.Parse(strings.TrimPrefix(values[0], "Bearer "), func(*jwt.Token) (any, error) {
		return &a.key.PublicKey, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return unauthenticated("ACCESS_TOKEN_EXPIRED")
	case err != nil:
		return unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED")
	}
	return nil
}

func unauthenticated(reason string) error {
	refused := status.New(codes.Unauthenticated,
		"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
	detailed, err := refused.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "googleapis.com"})
	if err != nil {
		return refused.Err()
	}
	return detailed.Err()
}

// writeCertificate makes a certificate for 127.0.0.1 and writes it for clients to trust.
func writeCertificate(file string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "judge"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return certificate, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
