// Package witness has others sign the heads of the logs (C2SP tlog-witness). A witness signs a head only if it
// continues the one that it signed before; so whoever asks for its signature sees a log that nobody, its operator
// included, can roll back or fork without the witness knowing.
//
// Nothing waits for a witness. One that is away signs a later head.
package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Trees are the trees of the logs.
type Trees interface {
	// Latest returns the newest signed head of a log.
	Latest(ctx context.Context, o audit.Origin) (ledger.Head, error)
	// Consistency proves that the tree of one size is the beginning of that of another.
	Consistency(ctx context.Context, o audit.Origin, from, to int64) (tlog.TreeProof, error)
	// Witnessed keeps a checkpoint that others have signed, beside the newest head.
	Witnessed(ctx context.Context, o audit.Origin, size int64, signed []byte) error
}

// Witness is somebody who signs heads.
type Witness struct {
	URL      string        // without a trailing slash; add-checkpoint is below it
	Verifier note.Verifier // of its cosignatures (auditor.NewWitness)
	Client   *http.Client
}

// Config is what Witnesses need; every field but the last two is required.
type Config struct {
	Trees     Trees
	Witnesses []Witness
	Interval  time.Duration // how long a head waits for a later one, at most; default 2 s
	Logger    *slog.Logger  // default slog.Default()
}

// patience bounds what the witnesses may take for one log.
const patience = 10 * time.Second

// Witnesses sign the heads of all logs that move. Close them.
type Witnesses struct {
	cfg    Config
	ended  context.Context
	end    context.CancelFunc
	closed chan struct{}
	signed atomic.Int64
	failed atomic.Int64

	mu    sync.Mutex
	moved map[audit.Origin]bool // since the last round
	seen  map[place]int64       // what a witness has signed last
	ill   map[string]bool       // witnesses whose last failure was logged, by URL
}

// place is a log in one of its epochs, at a witness.
type place struct {
	url, origin string
}

// New returns Witnesses that wait for heads.
func New(cfg Config) *Witnesses {
	if cfg.Interval <= 0 {
		cfg.Interval = 2 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	w := &Witnesses{cfg: cfg, closed: make(chan struct{}), moved: map[audit.Origin]bool{}, seen: map[place]int64{},
		ill: map[string]bool{}}
	w.ended, w.end = context.WithCancel(context.Background())
	go w.run()
	return w
}

// Moved tells of a log whose head has moved. It never blocks.
func (w *Witnesses) Moved(o audit.Origin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved[o] = true
}

// Close ends what is under way.
func (w *Witnesses) Close() {
	w.end()
	<-w.closed
}

// Stats are counts since the start.
type Stats struct{ Signed, Failed int64 }

// Stats returns how many cosignatures were had, and how many could not be.
func (w *Witnesses) Stats() Stats { return Stats{w.signed.Load(), w.failed.Load()} }

func (w *Witnesses) run() {
	defer close(w.closed)
	ticker := time.NewTicker(w.cfg.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-w.ended.Done():
			return
		case <-ticker.C:
		}
		for o := range w.take() {
			if err := w.ask(o); err != nil && w.ended.Err() == nil {
				w.cfg.Logger.Warn("have a head witnessed", "tenant", o.Tenant, "error", err)
			}
		}
	}
}

func (w *Witnesses) take() map[audit.Origin]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.moved
	w.moved = map[audit.Origin]bool{}
	return taken
}

// ask has all witnesses sign the newest head of a log, and keeps what they sign.
func (w *Witnesses) ask(o audit.Origin) error {
	ctx, cancel := context.WithTimeout(w.ended, patience)
	defer cancel()
	h, err := w.cfg.Trees.Latest(ctx, o)
	if err != nil || h.Epoch == 0 {
		return err
	}
	lines := make([]string, len(w.cfg.Witnesses))
	var asking sync.WaitGroup
	for i, witness := range w.cfg.Witnesses {
		asking.Go(func() {
			line, err := w.cosign(ctx, witness, o, h)
			w.note(witness, o, err)
			lines[i] = line
		})
	}
	asking.Wait()
	all := strings.Join(lines, "")
	if all == "" {
		return nil
	}
	return w.cfg.Trees.Witnessed(ctx, o, h.Size, append(bytes.Clone(h.Note), all...))
}

// note counts, and says once how a witness fares. What it did not sign it is asked for again.
func (w *Witnesses) note(witness Witness, o audit.Origin, err error) {
	if err == nil {
		w.signed.Add(1)
	} else {
		w.failed.Add(1)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.moved[o] = true
	}
	if w.ill[witness.URL] == (err != nil) {
		return
	}
	w.ill[witness.URL] = err != nil
	if err != nil {
		w.cfg.Logger.Error("a witness does not sign", "witness", witness.Verifier.Name(), "tenant", o.Tenant, "error", err)
	} else {
		w.cfg.Logger.Info("a witness signs again", "witness", witness.Verifier.Name())
	}
}

// cosign returns the line of a signature by the witness. What the witness saw last is learned from its refusals.
func (w *Witnesses) cosign(ctx context.Context, witness Witness, o audit.Origin, h ledger.Head) (string, error) {
	at := place{witness.URL, auditor.Origin(o.Issuer, h.Epoch)}
	w.mu.Lock()
	old := w.seen[at]
	w.mu.Unlock()
	for range 3 {
		if old > h.Size {
			return "", fmt.Errorf("it has signed a head of %d entries, and ours has %d: this log was rolled back", old, h.Size)
		}
		status, body, err := w.send(ctx, witness, o, h, old)
		if err != nil {
			return "", err
		}
		switch status {
		case http.StatusOK:
			line, err := signature(witness.Verifier, h.Note, body)
			if err == nil {
				w.mu.Lock()
				w.seen[at] = h.Size
				w.mu.Unlock()
			}
			return line, err
		case http.StatusConflict:
			if old, err = strconv.ParseInt(strings.TrimSuffix(string(body), "\n"), 10, 64); err != nil || old < 0 {
				return "", errors.New("it answered 409 and no size")
			}
		case http.StatusUnprocessableEntity:
			return "", fmt.Errorf("it does not believe that the log of %d entries is the beginning of that of %d", old, h.Size)
		case http.StatusNotFound:
			return "", fmt.Errorf("it does not know the log %s", at.origin)
		default:
			return "", fmt.Errorf("it answered %d", status)
		}
	}
	return "", errors.New("it has seen another head each time")
}

// maxAnswer bounds the answer of a witness, in bytes.
const maxAnswer = 16 << 10

// send posts a head, and the proof that it goes on from the one of old entries.
func (w *Witnesses) send(ctx context.Context, witness Witness, o audit.Origin, h ledger.Head, old int64) (
	status int, body []byte, err error,
) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", old)
	if old > 0 && old < h.Size {
		proof, err := w.cfg.Trees.Consistency(ctx, o, old, h.Size)
		if err != nil {
			return 0, nil, fmt.Errorf("prove that the log grew: %w", err)
		}
		for _, hash := range proof {
			b.WriteString(base64.StdEncoding.EncodeToString(hash[:]) + "\n")
		}
	}
	b.WriteString("\n")
	b.Write(h.Note)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, witness.URL+"/add-checkpoint", &b)
	if err != nil {
		return 0, nil, errors.New("its URL is none")
	}
	answer, err := witness.Client.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("ask it: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer)); err != nil {
		return 0, nil, fmt.Errorf("read its answer: %w", err)
	}
	return answer.StatusCode, body, nil
}

// signature returns the line of the answer that the witness has signed the checkpoint with.
func signature(v note.Verifier, checkpoint, answer []byte) (string, error) {
	if len(answer) == 0 || answer[len(answer)-1] != '\n' {
		return "", errors.New("its answer holds no signature")
	}
	n, err := note.Open(append(bytes.Clone(checkpoint), answer...), note.VerifierList(v))
	if err != nil {
		return "", errors.New("its answer holds no signature of its on this checkpoint")
	}
	return "— " + n.Sigs[0].Name + " " + n.Sigs[0].Base64 + "\n", nil
}
