// sigstore-kms-goplugin is a KMS plugin with sigstore's own handler, for keys in files: goplugin://PATH.
package main

import (
	"context"
	"crypto"
	"fmt"
	"os"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// fileKMS adds what sigstore's interface asks for and a timestamp authority does not.
type fileKMS struct {
	signature.SignerVerifier
}

func (fileKMS) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, fmt.Errorf("keys are made elsewhere")
}

func (fileKMS) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, fmt.Errorf("not a method of the protocol")
}

func (fileKMS) SupportedAlgorithms() []string { return []string{"any"} }
func (fileKMS) DefaultAlgorithm() string      { return "any" }

func run() error {
	arguments, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(arguments.InitOptions.KeyResourceID)
	if err != nil {
		return err
	}
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(pem, cryptoutils.SkipPassword)
	if err != nil {
		return err
	}
	signer, err := signature.LoadSignerVerifier(key, arguments.InitOptions.HashFunc)
	if err != nil {
		return err
	}
	_, err = handler.Dispatch(os.Stdout, os.Stdin, arguments, fileKMS{signer})
	return err
}

func main() {
	if err := run(); err != nil {
		_ = handler.WriteErrorResponse(os.Stdout, err)
		os.Exit(1)
	}
}
