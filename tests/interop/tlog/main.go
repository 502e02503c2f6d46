// Reads a tiled log with the packages that others read logs with, and says what it found as JSON:
// golang.org/x/mod's note and tlog, and transparency-dev's tessera, formats and merkle.
//
//	tlog read URL LOGKEY WITNESSKEY...   every entry's inclusion, every size's consistency, every cosignature
//	tlog proof FILE LOGKEY ENTRY         an offline proof (C2SP tlog-proof) of an entry in hexadecimal digits
//	tlog witness FOLDER SEED URL KEY N   a log made by Tessera, whose checkpoints a witness cosigns
//
// Two commands serve until their standard input ends, and print where:
//
//	tlog omniwitness SEED LOGKEY                            transparency-dev's witness
//	tlog personality FOLDER SEED PUSHED [URL KEY]           a log made by Tessera, and perhaps its witness
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	fproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type report struct {
	Origin  string   `json:"origin"`
	Size    uint64   `json:"size"`
	Entries []string `json:"entries"`
	Signers []string `json:"signers"`
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("which command?"))
	}
	var found any
	var err error
	switch os.Args[1] {
	case "read":
		found, err = read(os.Args[2], os.Args[3], os.Args[4:])
	case "proof":
		found, err = check(os.Args[2], os.Args[3], os.Args[4])
	case "witness":
		found, err = witness(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
	case "omniwitness":
		err = omni(os.Args[2], os.Args[3])
	case "personality":
		err = personality(os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	default:
		err = fmt.Errorf("there is no command %s", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
	if found == nil {
		return
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// verifier reads a log's Ed25519 key or a witness's cosigning key, of either kind.
func verifier(key string) (note.Verifier, error) {
	if v, err := note.NewVerifier(key); err == nil {
		return v, nil
	}
	if v, err := fnote.NewVerifierForCosignatureV1(key); err == nil {
		return v, nil
	}
	return fnote.NewMLDSAVerifier(key)
}

func read(address, logKey string, witnessKeys []string) (*report, error) {
	ctx := context.Background()
	root, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	fetcher, err := client.NewHTTPFetcher(root, http.DefaultClient)
	if err != nil {
		return nil, err
	}
	v, err := verifier(logKey)
	if err != nil {
		return nil, err
	}
	checkpoint, raw, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, v, v.Name())
	if err != nil {
		return nil, err
	}
	verifiers := []note.Verifier{v}
	for _, key := range witnessKeys {
		w, err := verifier(key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		verifiers = append(verifiers, w)
	}
	opened, err := note.Open(raw, note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	found := &report{Origin: checkpoint.Origin, Size: checkpoint.Size}
	for _, signature := range opened.Sigs {
		found.Signers = append(found.Signers, signature.Name)
		if signature.Name != v.Name() {
			when, err := fnote.CoSigV1Timestamp(signature)
			if err != nil || time.Since(when).Abs() > time.Hour {
				return nil, fmt.Errorf("the time of %s is %s: %v", signature.Name, when, err)
			}
		}
	}
	if err := byTessera(ctx, fetcher, checkpoint.Size, checkpoint.Hash, found); err != nil {
		return nil, fmt.Errorf("tessera: %w", err)
	}
	if err := byXmod(address, int64(checkpoint.Size), checkpoint.Hash, found); err != nil {
		return nil, fmt.Errorf("x/mod: %w", err)
	}
	return found, nil
}

func byTessera(ctx context.Context, fetcher *client.HTTPFetcher, size uint64, root []byte, found *report) error {
	builder, err := client.NewProofBuilder(ctx, size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	for bundle := uint64(0); bundle*256 < size; bundle++ {
		entries, err := client.GetEntryBundle(ctx, fetcher.ReadEntryBundle, bundle, size)
		if err != nil {
			return err
		}
		for place, entry := range entries.Entries {
			index := bundle*256 + uint64(place)
			path, err := builder.InclusionProof(ctx, index)
			if err != nil {
				return err
			}
			leaf := rfc6962.DefaultHasher.HashLeaf(entry)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, path, root); err != nil {
				return err
			}
			found.Entries = append(found.Entries, hex.EncodeToString(entry))
		}
	}
	return nil
}

// byXmod reads tiles at the paths of C2SP, which are not those of the Go checksum database.
func byXmod(address string, size int64, root []byte, found *report) error {
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: tlog.Hash(root)}, &tiles{address})
	for index, entry := range found.Entries {
		data, _ := hex.DecodeString(entry)
		path, err := tlog.ProveRecord(size, int64(index), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(path, size, tlog.Hash(root), int64(index), tlog.RecordHash(data)); err != nil {
			return err
		}
	}
	for old := int64(1); old <= size; old += 1 + size/50 {
		before, err := tlog.TreeHash(old, reader)
		if err != nil {
			return err
		}
		path, err := tlog.ProveTree(size, old, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(path, size, tlog.Hash(root), old, before); err != nil {
			return err
		}
	}
	return nil
}

type tiles struct{ address string }

func (t *tiles) Height() int { return 8 }

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		// tile/8/0/x001/234.p/5 there, tile/0/x001/234.p/5 here
		path := "tile/" + tile.Path()[len("tile/8/"):]
		reply, err := http.Get(t.address + path)
		if err != nil {
			return nil, err
		}
		var data bytes.Buffer
		_, err = data.ReadFrom(reply.Body)
		reply.Body.Close()
		if err != nil || reply.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s %v", path, reply.Status, err)
		}
		all = append(all, data.Bytes())
	}
	return all, nil
}

func check(file, logKey, entry string) (*report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var parsed fproof.TLogProof
	if err := parsed.Unmarshal(data); err != nil {
		return nil, err
	}
	leaf, err := hex.DecodeString(entry)
	if err != nil {
		return nil, err
	}
	v, err := verifier(logKey)
	if err != nil {
		return nil, err
	}
	checkpoint, _, opened, err := log.ParseCheckpoint(parsed.Checkpoint, v.Name(), v)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", opened, err)
	}
	var path [][]byte
	for _, each := range parsed.Hashes {
		path = append(path, each[:])
	}
	hash := rfc6962.DefaultHasher.HashLeaf(leaf)
	err = proof.VerifyInclusion(rfc6962.DefaultHasher, parsed.Index, checkpoint.Size, hash, path, checkpoint.Hash)
	if err != nil {
		return nil, err
	}
	return &report{Origin: checkpoint.Origin, Size: checkpoint.Size}, nil
}

// witness makes a log of as many entries as asked for, one checkpoint after the other, each cosigned before it is
// published.
func witness(folder, seed, address, key, count string) (*report, error) {
	ctx := context.Background()
	signer, err := note.NewSigner(seed)
	if err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: folder})
	if err != nil {
		return nil, err
	}
	root, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	one, err := tessera.NewWitness(key, root)
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(1, 50*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(tessera.NewWitnessGroup(1, one), &tessera.WitnessOptions{Timeout: 30 * time.Second})
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return nil, err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	entries, err := strconv.Atoi(count)
	if err != nil {
		return nil, err
	}
	found := &report{Origin: signer.Name()}
	for number := 0; number < entries; number++ {
		future := appender.Add(ctx, tessera.NewEntry([]byte(fmt.Sprintf("entry %d", number))))
		_, raw, err := awaiter.Await(ctx, future)
		if err != nil {
			return nil, err
		}
		v, err := verifier(key)
		if err != nil {
			return nil, err
		}
		opened, err := note.Open(raw, note.VerifierList(v))
		if err != nil {
			return nil, fmt.Errorf("checkpoint %d: %w", number, err)
		}
		found.Signers = append(found.Signers, opened.Sigs[0].Name)
	}
	return found, shutdown(ctx)
}
