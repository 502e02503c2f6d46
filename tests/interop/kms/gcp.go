package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// permissions are the names by which Google refuses an operation.
var permissions = map[string]string{
	"GetPublicKey":          "cloudkms.cryptoKeyVersions.viewPublicKey",
	"AsymmetricSign":        "cloudkms.cryptoKeyVersions.useToSign",
	"ListCryptoKeyVersions": "cloudkms.cryptoKeyVersions.list",
}

type version struct {
	record *kmspb.CryptoKeyVersion
	key    crypto.Signer
}

type keyManagement struct {
	kmspb.UnimplementedKeyManagementServiceServer
	lock sync.Mutex
	keys map[string][]*version
}

func serveGcp(directory string) {
	certificate, err := writeCertificate(path.Join(directory, "gcp-ca.pem"))
	if err != nil {
		fail(err)
	}
	account, err := writeServiceAccount(path.Join(directory, "account.json"))
	if err != nil {
		fail(err)
	}
	service := &keyManagement{keys: map[string][]*version{}}
	guarded := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(certificate)), door(account))
	plain := grpc.NewServer(door(nil))
	for _, server := range []*grpc.Server{guarded, plain} {
		kmspb.RegisterKeyManagementServiceServer(server, service)
		listener := listen()
		fmt.Println(listener.Addr())
		go func() { fail(server.Serve(listener)) }()
	}
	control := listen()
	fmt.Printf("http://%s\n", control.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /judge", judge)
	go func() { fail(http.Serve(control, mux)) }()
}

// door lets calls in, with an access token of the account unless there is none.
func door(account *serviceAccount) grpc.ServerOption {
	return grpc.UnaryInterceptor(
		func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if err := admit(ctx, account, path.Base(info.FullMethod)); err != nil {
				return nil, err
			}
			return handler(ctx, request)
		})
}

// admit returns the error that Google's front door gives: for the token, the policy, the quota.
func admit(ctx context.Context, account *serviceAccount, method string) error {
	now := current()
	if account != nil {
		if err := account.check(ctx, now); err != nil {
			return err
		}
	}
	if now.denies(method) {
		return status.Errorf(codes.PermissionDenied, "Permission '%s' denied on resource (or it may not exist).", permissions[method])
	}
	if throttled() {
		refused := status.New(codes.ResourceExhausted,
			"Quota exceeded for quota metric 'Cryptographic requests' of service 'cloudkms.googleapis.com'.")
		if now.RetrySeconds > 0 {
			delay := durationpb.New(0)
			delay.Seconds, delay.Nanos = int64(now.RetrySeconds), int32(1e9*(now.RetrySeconds-float64(int64(now.RetrySeconds))))
			refused, _ = refused.WithDetails(&errdetails.RetryInfo{RetryDelay: delay})
		}
		return refused.Err()
	}
	return nil
}

// CreateCryptoKey makes a key and its first version, of the template's algorithm.
func (k *keyManagement) CreateCryptoKey(_ context.Context, r *kmspb.CreateCryptoKeyRequest) (*kmspb.CryptoKey, error) {
	name := r.Parent + "/cryptoKeys/" + r.CryptoKeyId
	k.lock.Lock()
	_, there := k.keys[name]
	k.lock.Unlock()
	if there {
		return nil, status.Errorf(codes.AlreadyExists, "CryptoKey %s already exists.", name)
	}
	_, err := k.add(name, r.GetCryptoKey().GetVersionTemplate().GetAlgorithm())
	return &kmspb.CryptoKey{Name: name, Purpose: kmspb.CryptoKey_ASYMMETRIC_SIGN}, err
}

// CreateCryptoKeyVersion makes a further version of a key.
func (k *keyManagement) CreateCryptoKeyVersion(
	_ context.Context, r *kmspb.CreateCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	k.lock.Lock()
	versions := k.keys[r.Parent]
	k.lock.Unlock()
	if len(versions) == 0 {
		return nil, status.Errorf(codes.NotFound, "CryptoKey %s not found.", r.Parent)
	}
	return k.add(r.Parent, versions[0].record.Algorithm)
}

// UpdateCryptoKeyVersion enables or disables a version.
func (k *keyManagement) UpdateCryptoKeyVersion(
	_ context.Context, r *kmspb.UpdateCryptoKeyVersionRequest) (*kmspb.CryptoKeyVersion, error) {
	found, err := k.find(r.GetCryptoKeyVersion().GetName())
	if err != nil {
		return nil, err
	}
	k.lock.Lock()
	defer k.lock.Unlock()
	found.record.State = r.CryptoKeyVersion.State
	return found.record, nil
}

// ListCryptoKeyVersions shows two versions on a page, so that a client has to turn them.
func (k *keyManagement) ListCryptoKeyVersions(
	_ context.Context, r *kmspb.ListCryptoKeyVersionsRequest) (*kmspb.ListCryptoKeyVersionsResponse, error) {
	wanted, filtered := strings.CutPrefix(r.Filter, "state=")
	if r.Filter != "" && !filtered {
		return nil, status.Errorf(codes.InvalidArgument, "Invalid filter: %q", r.Filter)
	}
	k.lock.Lock()
	defer k.lock.Unlock()
	var all []*kmspb.CryptoKeyVersion
	for _, each := range k.keys[r.Parent] {
		if !filtered || each.record.State.String() == wanted {
			all = append(all, each.record)
		}
	}
	first, _ := strconv.Atoi(r.PageToken)
	first = min(first, len(all))
	last := min(first+2, len(all))
	answer := &kmspb.ListCryptoKeyVersionsResponse{CryptoKeyVersions: all[first:last], TotalSize: int32(len(all))}
	if last < len(all) {
		answer.NextPageToken = strconv.Itoa(last)
	}
	return answer, nil
}

// GetPublicKey shows the public half of a version that is enabled.
func (k *keyManagement) GetPublicKey(_ context.Context, r *kmspb.GetPublicKeyRequest) (*kmspb.PublicKey, error) {
	found, err := k.usable(r.Name)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(found.key.Public())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return &kmspb.PublicKey{
		Name: r.Name, Algorithm: found.record.Algorithm, Pem: string(text), PemCrc32C: sum(text),
		ProtectionLevel: kmspb.ProtectionLevel_SOFTWARE,
	}, nil
}

// AsymmetricSign signs a digest, or for Ed25519 the data, and refuses what does not go with the algorithm.
func (k *keyManagement) AsymmetricSign(
	_ context.Context, r *kmspb.AsymmetricSignRequest) (*kmspb.AsymmetricSignResponse, error) {
	found, err := k.usable(r.Name)
	if err != nil {
		return nil, err
	}
	algorithm := found.record.Algorithm.String()
	answer := &kmspb.AsymmetricSignResponse{Name: r.Name, ProtectionLevel: kmspb.ProtectionLevel_SOFTWARE}
	var options crypto.SignerOpts = crypto.Hash(0)
	input := r.Data
	if _, plain := found.key.(ed25519.PrivateKey); plain {
		if r.Digest != nil {
			return nil, status.Errorf(codes.InvalidArgument, "%s signs data, not a digest.", algorithm)
		}
		if answer.VerifiedDataCrc32C, err = verified(r.Data, r.DataCrc32C); err != nil {
			return nil, err
		}
	} else {
		hash, digest := digestOf(r.Digest)
		if digest == nil || len(r.Data) > 0 || len(digest) != hash.Size() || !strings.HasSuffix(algorithm, fmt.Sprintf("SHA%d", 8*hash.Size())) {
			return nil, status.Errorf(codes.InvalidArgument, "The digest does not go with %s.", algorithm)
		}
		if answer.VerifiedDigestCrc32C, err = verified(digest, r.DigestCrc32C); err != nil {
			return nil, err
		}
		input, options = digest, hash
		if strings.HasPrefix(algorithm, "RSA_SIGN_PSS") {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
	}
	if answer.Signature, err = found.key.Sign(rand.Reader, input, options); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	answer.SignatureCrc32C = sum(answer.Signature)
	return answer, nil
}

func (k *keyManagement) add(name string, algorithm kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm) (*kmspb.CryptoKeyVersion, error) {
	key, err := generate(algorithm.String())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	k.lock.Lock()
	defer k.lock.Unlock()
	record := &kmspb.CryptoKeyVersion{
		Name:      fmt.Sprintf("%s/cryptoKeyVersions/%d", name, len(k.keys[name])+1),
		State:     kmspb.CryptoKeyVersion_ENABLED,
		Algorithm: algorithm,
	}
	k.keys[name] = append(k.keys[name], &version{record: record, key: key})
	return record, nil
}

func (k *keyManagement) find(name string) (*version, error) {
	k.lock.Lock()
	defer k.lock.Unlock()
	key, _, _ := strings.Cut(name, "/cryptoKeyVersions/")
	for _, each := range k.keys[key] {
		if each.record.Name == name {
			return each, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "CryptoKeyVersion %s not found.", name)
}

func (k *keyManagement) usable(name string) (*version, error) {
	found, err := k.find(name)
	if err == nil && found.record.State != kmspb.CryptoKeyVersion_ENABLED {
		return nil, status.Errorf(codes.FailedPrecondition, "%s is not enabled, current state is: %s.", name, found.record.State)
	}
	return found, err
}

func generate(algorithm string) (crypto.Signer, error) {
	switch {
	case algorithm == "EC_SIGN_P256_SHA256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case algorithm == "EC_SIGN_P384_SHA384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case algorithm == "EC_SIGN_ED25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case strings.HasPrefix(algorithm, "RSA_SIGN_PKCS1_2048_") || strings.HasPrefix(algorithm, "RSA_SIGN_PSS_2048_"):
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("%s is not made here", algorithm)
}

func digestOf(digest *kmspb.Digest) (crypto.Hash, []byte) {
	switch given := digest.GetDigest().(type) {
	case *kmspb.Digest_Sha256:
		return crypto.SHA256, given.Sha256
	case *kmspb.Digest_Sha384:
		return crypto.SHA384, given.Sha384
	case *kmspb.Digest_Sha512:
		return crypto.SHA512, given.Sha512
	}
	return crypto.SHA256, nil
}

func sum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, castagnoli)))
}

// verified says whether a checksum came along; a wrong one is refused.
func verified(data []byte, checksum *wrapperspb.Int64Value) (bool, error) {
	if checksum == nil || len(data) == 0 {
		return false, nil
	}
	if checksum.Value != sum(data).Value {
		return false, status.Error(codes.InvalidArgument, "The checksum does not match the data.")
	}
	return true, nil
}
