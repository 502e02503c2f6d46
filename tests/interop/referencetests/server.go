// Package tests stands where the reference's own server for its tests is: its tests ask ours instead. Its test files
// are copied from the Go module when this is built.
package tests

import (
	"net/http"
	"os"
	"testing"

	"github.com/spf13/viper"
)

// createServer returns the address of the server that was started with the flags which these functions set.
func createServer(t *testing.T, flagsToSet ...func()) string {
	viper.Reset()
	for _, set := range flagsToSet {
		set()
	}
	name := "SERVER"
	if viper.GetBool("include-chain-in-response") {
		name = "SERVER_WITH_CHAIN"
	} else if viper.GetBool("allow-custom-extensions") {
		name = "SERVER_WITH_EXTENSIONS"
	}
	url := os.Getenv(name)
	if url == "" {
		t.Fatalf("%s is not set", name)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return url
}
