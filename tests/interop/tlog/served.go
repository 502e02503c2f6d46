package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"github.com/transparency-dev/witness/config"
	"github.com/transparency-dev/witness/omniwitness"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"golang.org/x/mod/sumdb/note"
)

// listen opens a free port of the loopback interface and prints where that is.
func listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return listener, json.NewEncoder(os.Stdout).Encode(map[string]string{"url": "http://" + listener.Addr().String()})
}

// untilStdinEnds returns when whoever started this program closes its standard input, or has ended.
func untilStdinEnds() {
	io.Copy(io.Discard, os.Stdin)
}

// omni runs transparency-dev's witness for one log, with its memory in the process.
func omni(seed, logKey string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signer, err := fnote.NewSignerForCosignatureV1(seed)
	if err != nil {
		return err
	}
	v, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	memory := inmemory.New()
	if err := memory.AddLogs(ctx, []config.Log{{VKey: logKey, Verifier: v, Origin: v.Name()}}); err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	operator := omniwitness.OperatorConfig{
		WitnessKeys:     []note.Signer{signer},
		WitnessVerifier: signer.Verifier(),
		Logs:            memory,
	}
	ended := make(chan error, 1)
	go func() { ended <- omniwitness.Main(ctx, operator, memory, listener, http.DefaultClient) }()
	go func() {
		untilStdinEnds()
		ended <- nil
	}()
	return <-ended
}

// personality runs a log of Tessera's: POST /add takes an entry and answers its index, the rest are the log's files.
// It pushes back the first requests, as many as `pushed` says: the driver for files never does by itself. A witness, if
// there is one, cosigns each checkpoint.
func personality(folder, seed, pushed string, witness []string) error {
	ctx := context.Background()
	signer, err := note.NewSigner(seed)
	if err != nil {
		return err
	}
	most, err := strconv.ParseInt(pushed, 10, 32)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: folder})
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(256, 50*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithAntispam(tessera.DefaultAntispamInMemorySize, nil)
	if len(witness) == 2 {
		place, err := url.Parse(witness[0])
		if err != nil {
			return err
		}
		one, err := tessera.NewWitness(witness[1], place)
		if err != nil {
			return err
		}
		options = options.WithWitnesses(
			tessera.NewWitnessGroup(1, one), &tessera.WitnessOptions{Timeout: 30 * time.Second})
	}
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	var posted atomic.Int64
	routes := http.NewServeMux()
	routes.HandleFunc("POST /add", func(w http.ResponseWriter, r *http.Request) {
		entry, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var index tessera.Index
		if posted.Add(1) <= most {
			err = tessera.ErrPushback
		} else {
			index, err = appender.Add(r.Context(), tessera.NewEntry(entry))()
		}
		if errors.Is(err, tessera.ErrPushback) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%d", index.Index)
	})
	routes.Handle("GET /", http.FileServer(http.Dir(folder)))
	go http.Serve(listener, routes)
	untilStdinEnds()
	return shutdown(ctx)
}
