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
	"net/url"
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

const (
	patience     = 5 * time.Second // what a witness may take for one head
	longestPause = time.Minute     // before a witness that does not sign is asked again; each is twice the one before
	atOnce       = 16              // logs that witnesses are asked about at the same time
)

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
	ill   map[place]illness     // those that did not sign
}

// illness is how a witness fails to sign the heads of a log.
type illness struct {
	why   string
	pause time.Duration
	until time.Time // when it is asked again
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
		ill: map[place]illness{}}
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
		w.round()
	}
}

// round asks about all logs that have moved.
func (w *Witnesses) round() {
	var asking sync.WaitGroup
	defer asking.Wait()
	room := make(chan struct{}, atOnce)
	for o := range w.take() {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			if err := w.ask(o); err != nil && w.ended.Err() == nil {
				w.cfg.Logger.Warn("have a head witnessed", "log", auditor.KeyName(o.Issuer), "error", err)
			}
		})
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
	h, err := w.latest(o)
	if err != nil || h.Epoch == 0 {
		return err
	}
	lines := make([]string, len(w.cfg.Witnesses))
	var asking sync.WaitGroup
	for i, witness := range w.cfg.Witnesses {
		asking.Go(func() {
			at := place{witness.URL, auditor.Origin(o.Issuer, h.Epoch)}
			if !w.due(at, o) {
				return
			}
			ctx, cancel := context.WithTimeout(w.ended, patience)
			defer cancel()
			line, err := w.cosign(ctx, witness, at, o, h)
			w.note(witness, at, o, err)
			lines[i] = line
		})
	}
	asking.Wait()
	all := strings.Join(lines, "")
	if all == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.ended, patience)
	defer cancel()
	return w.cfg.Trees.Witnessed(ctx, o, h.Size, append(bytes.Clone(h.Note), all...))
}

func (w *Witnesses) latest(o audit.Origin) (ledger.Head, error) {
	ctx, cancel := context.WithTimeout(w.ended, patience)
	defer cancel()
	return w.cfg.Trees.Latest(ctx, o)
}

// due reports whether a witness is asked about a log now. If it is not, it is later.
func (w *Witnesses) due(at place, o audit.Origin) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().Before(w.ill[at].until) {
		w.moved[o] = true
		return false
	}
	return true
}

// note counts, and says how a witness fares with a log whenever that changes. What it did not sign it is asked for
// again.
func (w *Witnesses) note(witness Witness, at place, o audit.Origin, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, wasIll := w.ill[at]
	if err == nil {
		w.signed.Add(1)
		delete(w.ill, at)
		if wasIll {
			w.cfg.Logger.Info("a witness signs again", "witness", witness.Verifier.Name(), "log", at.origin)
		}
		return
	}
	w.failed.Add(1)
	w.moved[o] = true
	if last.why != err.Error() {
		w.cfg.Logger.Error("a witness does not sign", "witness", witness.Verifier.Name(), "log", at.origin, "error", err)
	}
	pause := min(max(2*last.pause, w.cfg.Interval), longestPause)
	w.ill[at] = illness{why: err.Error(), pause: pause, until: time.Now().Add(pause)}
}

// cosign returns the line of a signature by the witness. What the witness saw last is learned from its refusals.
func (w *Witnesses) cosign(ctx context.Context, witness Witness, at place, o audit.Origin, h ledger.Head) (
	string, error,
) {
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
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without its URL, which may hold what lets us in
		}
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
