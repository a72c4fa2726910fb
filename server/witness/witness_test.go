package witness_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/server/witness"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// party is a witness of one log, as C2SP tlog-witness has it, by the library that public witnesses use.
type party struct {
	*httptest.Server
	vkey   string
	signer note.Signer

	mu   sync.Mutex
	log  note.Verifier // nil: it does not know the log
	size int64
	root tlog.Hash
	asks int
}

func newParty(t *testing.T, name string) *party {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	p := new(party)
	if p.signer, err = formats.NewSignerForCosignatureV1(skey); err != nil {
		t.Fatal(err)
	}
	if p.vkey, err = formats.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *party) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// ServeHTTP answers add-checkpoint.
func (p *party) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asks++
	if r.URL.Path != "/add-checkpoint" || r.Method != http.MethodPost {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	body := bufio.NewReader(r.Body)
	var old int64
	line, _ := body.ReadString('\n')
	if _, err := fmt.Sscanf(line, "old %d\n", &old); err != nil {
		http.Error(w, "no old", http.StatusBadRequest)
		return
	}
	var proof tlog.TreeProof
	for line, _ = body.ReadString('\n'); line != "\n"; line, _ = body.ReadString('\n') {
		hash, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil || len(hash) != tlog.HashSize {
			http.Error(w, "no proof", http.StatusBadRequest)
			return
		}
		proof = append(proof, tlog.Hash(hash))
	}
	text, _ := io.ReadAll(body)
	if p.log == nil {
		http.Error(w, "unknown", http.StatusNotFound)
		return
	}
	c, n, err := auditor.OpenCheckpoint(text, p.log)
	switch {
	case err != nil:
		http.Error(w, "not signed", http.StatusForbidden)
		return
	case old != p.size:
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", p.size)
		return
	case p.size > 0 && p.size == c.Size && p.root != c.Root:
		http.Error(w, "forked", http.StatusConflict)
		return
	case p.size > 0 && p.size < c.Size && tlog.CheckTree(proof, c.Size, c.Root, p.size, p.root) != nil:
		http.Error(w, "no continuation", http.StatusUnprocessableEntity)
		return
	}
	p.size, p.root = c.Size, c.Root
	signed, err := note.Sign(&note.Note{Text: n.Text}, p.signer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, line, _ = strings.Cut(string(signed), "\n\n")
	_, _ = io.WriteString(w, line)
}

// world is a log that is written, and witnessed.
type world struct {
	t      *testing.T
	store  storage.Store
	master keys.Master
	origin audit.Origin
	log    *audit.Log
	trees  *tree.Trees
}

func eachStore(t *testing.T, run func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { run(t, newWorld(t, "bolt:"+filepath.Join(t.TempDir(), "bursar.db"))) })
	t.Run("redis", func(t *testing.T) { run(t, newWorld(t, storagetest.Redis(t))) })
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	w := &world{t: t, origin: audit.Origin{Tenant: ledger.NewTenant(), Issuer: "https://sts.example/t/acme"}}
	var err error
	if w.store, err = storage.Open(t.Context(), storage.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	if w.master, err = keys.FileMaster(keys.NewMasterFile()); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	w.trees = tree.New(tree.Config{Store: w.store, Master: w.master, Anchors: tree.NoAnchors{}, Logger: quiet,
		Interval: time.Millisecond})
	w.log = audit.New(audit.Config{Store: w.store, Master: w.master, Deadline: time.Minute, Logger: quiet,
		Appended: w.trees.Appended, Gate: w.trees.Gate})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = w.log.Close(ctx), w.trees.Close(ctx)
	})
	return w
}

// append records n events and returns the head that covers them.
func (w *world) append(n int) ledger.Head {
	w.t.Helper()
	for range n {
		e := audit.Event{Name: audit.TokenExchange, Body: audit.Body{Outcome: audit.Denied, Reason: "policy.no_rule"}}
		if _, err := w.log.Append(w.t.Context(), w.origin, e); err != nil {
			w.t.Fatal(err)
		}
	}
	h, err := w.trees.Head(w.t.Context(), w.origin)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// verifier is of the log's checkpoints.
func (w *world) verifier() note.Verifier {
	w.t.Helper()
	all, err := w.trees.VerifierKey(w.t.Context(), w.origin)
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := note.NewVerifier(all[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) have(parties ...*party) *witness.Witnesses {
	w.t.Helper()
	var all []witness.Witness
	for _, p := range parties {
		v, err := auditor.NewWitness(p.vkey)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, witness.Witness{URL: p.URL, Verifier: v, Client: p.Client()})
	}
	witnesses := witness.New(witness.Config{Trees: w.trees, Witnesses: all, Interval: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler)})
	w.t.Cleanup(witnesses.Close)
	return witnesses
}

// await returns the stored head once the checkpoint of so many entries has the signatures of all parties.
func (w *world) await(size int64, parties ...*party) ledger.Head {
	w.t.Helper()
	for {
		h, _, err := w.store.Head(w.t.Context(), w.origin.Tenant)
		if err != nil {
			w.t.Fatal(err)
		}
		signed := 0
		for _, p := range parties {
			v, err := formats.NewVerifierForCosignatureV1(p.vkey)
			if err != nil {
				w.t.Fatal(err)
			}
			if c, _, err := auditor.OpenCheckpoint(h.Witnessed, v); err == nil && c.Size >= size {
				signed++
			}
		}
		if signed == len(parties) {
			return h
		}
		time.Sleep(time.Millisecond) // nothing announces it
	}
}

func TestWitnessesSignTheNewestHead(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		one, two := newParty(t, "witness.example/one"), newParty(t, "witness.example/two")
		witnesses := w.have(one, two)
		first := w.append(300)
		for _, p := range []*party{one, two} {
			p.set(func() { p.log = w.verifier() })
		}
		witnesses.Moved(w.origin)
		h := w.await(first.Size, one, two)
		if !h.Same(first) || string(h.Note) != string(first.Note) {
			t.Error("the head became another one")
		}
		second := w.append(300)
		witnesses.Moved(w.origin)
		h = w.await(second.Size, one, two)
		c, _, err := auditor.OpenCheckpoint(h.Witnessed, w.verifier())
		if err != nil || c.Size != second.Size {
			t.Errorf("the witnessed checkpoint is not ours: %v, %+v", err, c)
		}
		if s := witnesses.Stats(); s.Signed < 4 {
			t.Errorf("%+v", s)
		}
	})
}

// A witness that was asked by another process, or knows nothing of us, tells what it has; one that is away is asked
// again.
func TestAWitnessIsMetWhereItIs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := newParty(t, "witness.example/one")
		p.set(func() { p.log = w.verifierAfter() })
		first := w.append(10)
		one := w.have(p)
		one.Moved(w.origin)
		w.await(first.Size, p)
		another := w.have(p) // which believes that the witness has seen nothing
		second := w.append(10)
		another.Moved(w.origin)
		w.await(second.Size, p)
		log := p.log
		p.set(func() { p.log = nil })
		third := w.append(10)
		another.Moved(w.origin)
		for another.Stats().Failed == 0 {
			time.Sleep(time.Millisecond)
		}
		p.set(func() { p.log = log })
		w.await(third.Size, p)
	})
}

// verifierAfter is of a log that begins now.
func (w *world) verifierAfter() note.Verifier {
	w.append(1)
	return w.verifier()
}

// What a witness has signed is not taken back: it does not sign a shorter log, and says so.
func TestAWitnessDoesNotSignARollback(t *testing.T) {
	w := newWorld(t, "bolt:"+filepath.Join(t.TempDir(), "bursar.db"))
	p := newParty(t, "witness.example/one")
	p.set(func() { p.log, p.size = w.verifierAfter(), 1000 })
	said := new(strings.Builder)
	v, err := auditor.NewWitness(p.vkey)
	if err != nil {
		t.Fatal(err)
	}
	witnesses := witness.New(witness.Config{Trees: w.trees, Interval: time.Millisecond,
		Witnesses: []witness.Witness{{URL: p.URL, Verifier: v, Client: p.Client()}},
		Logger:    slog.New(slog.NewTextHandler(said, nil))})
	w.append(10)
	witnesses.Moved(w.origin)
	for witnesses.Stats().Failed == 0 {
		time.Sleep(time.Millisecond)
	}
	witnesses.Close()
	if !strings.Contains(said.String(), "rolled back") {
		t.Errorf("it said %s", said)
	}
	h, _, err := w.store.Head(t.Context(), w.origin.Tenant)
	if err != nil || h.Witnessed != nil {
		t.Errorf("%v, witnessed %s", err, h.Witnessed)
	}
}

// Whatever a witness answers that is no signature of its on what it was asked for is not kept.
func TestOnlySignaturesAreKept(t *testing.T) {
	w := newWorld(t, "bolt:"+filepath.Join(t.TempDir(), "bursar.db"))
	p := newParty(t, "witness.example/one")
	head := w.append(3)
	other, err := note.Sign(&note.Note{Text: auditor.Checkpoint{Origin: "elsewhere", Size: 3}.Text()}, p.signer)
	if err != nil {
		t.Fatal(err)
	}
	_, elsewhere, _ := strings.Cut(string(other), "\n\n")
	_, ours, _ := strings.Cut(string(head.Note), "\n\n")
	for name, answer := range map[string]string{
		"nothing": "", "rubbish": "rubbish\n", "a signature of something else": elsewhere, "our own": ours,
	} {
		liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, answer)
		}))
		v, err := auditor.NewWitness(p.vkey)
		if err != nil {
			t.Fatal(err)
		}
		witnesses := witness.New(witness.Config{Trees: w.trees, Interval: time.Millisecond,
			Witnesses: []witness.Witness{{URL: liar.URL, Verifier: v, Client: liar.Client()}},
			Logger:    slog.New(slog.DiscardHandler)})
		witnesses.Moved(w.origin)
		for witnesses.Stats().Failed == 0 {
			time.Sleep(time.Millisecond)
		}
		witnesses.Close()
		liar.Close()
		h, _, err := w.store.Head(t.Context(), w.origin.Tenant)
		if err != nil || h.Witnessed != nil || witnesses.Stats().Signed != 0 {
			t.Errorf("%s: %v, witnessed %s", name, err, h.Witnessed)
		}
	}
}
