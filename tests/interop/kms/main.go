// Judges of our KMS clients from outside: what AWS KMS and Google Cloud KMS do, from other people's parts.
//
// "kms aws DIRECTORY" serves KMS's JSON by local-kms, behind a check of SigV4 by AWS's own signer. "kms gcp DIRECTORY"
// serves gRPC by Google's own service definition, with real CRC32C, keys of Go's library and a check of access tokens; a
// second port has neither TLS nor tokens. Both listen on 127.0.0.1, print their addresses, and end with their standard
// input. POST /judge to the last address printed says what goes wrong from then on.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Faults is what goes wrong; all of it is replaced at once.
type Faults struct {
	// Denied are operations that no policy allows, such as Sign or AsymmetricSign.
	Denied []string `json:"denied"`
	// Rate is how many calls a second are answered, 0 for any number.
	Rate float64 `json:"rate"`
	// RetrySeconds is sent with a refusal for the rate, as Retry-After or RetryInfo; 0 sends none.
	RetrySeconds float64 `json:"retry_seconds"`
	// Expired says that the client's credentials have ended.
	Expired bool `json:"expired"`
	// SkewSeconds is how far the service's clock is ahead of this machine's.
	SkewSeconds float64 `json:"skew_seconds"`
}

var (
	lock   sync.Mutex
	faults Faults
	tokens float64
	filled time.Time
)

func current() Faults {
	lock.Lock()
	defer lock.Unlock()
	return faults
}

func (f Faults) now() time.Time {
	return time.Now().Add(time.Duration(f.SkewSeconds * float64(time.Second)))
}

func (f Faults) denies(operation string) bool {
	return slices.Contains(f.Denied, operation)
}

// throttled takes one call from the bucket of this second, and says whether there was none.
func throttled() bool {
	lock.Lock()
	defer lock.Unlock()
	if faults.Rate <= 0 {
		return false
	}
	now := time.Now()
	tokens = min(faults.Rate, tokens+faults.Rate*now.Sub(filled).Seconds())
	filled = now
	if tokens < 1 {
		return true
	}
	tokens--
	return false
}

func judge(w http.ResponseWriter, r *http.Request) {
	var next Faults
	if err := json.NewDecoder(r.Body).Decode(&next); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lock.Lock()
	faults, tokens, filled = next, next.Rate, time.Now()
	lock.Unlock()
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	return listener
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: kms aws|gcp DIRECTORY"))
	}
	switch os.Args[1] {
	case "aws":
		serveAws(os.Args[2])
	case "gcp":
		serveGcp(os.Args[2])
	default:
		fail(fmt.Errorf("%q is neither aws nor gcp", os.Args[1]))
	}
	// Whoever started this process ends it by closing its input, also by dying.
	io.Copy(io.Discard, os.Stdin)
}
