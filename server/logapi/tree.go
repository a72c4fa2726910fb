package logapi

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/front"
)

type problem = operator.Problem

const (
	textMedia   = "text/plain; charset=utf-8"
	binaryMedia = "application/octet-stream"

	noStore = "no-store"
	// settled is for what never changes. It is of a log that not everybody may read, so no shared cache keeps it.
	settled = "private, max-age=31536000, immutable"
	// growing is for what never changes either, and will soon be asked for as part of something larger.
	growing = "private, max-age=300"
	// published is for public keys: a verifier must soon see that one was revoked.
	published = "public, max-age=60"
)

func (c *call) write(media, cache string, body []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", cache)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = c.w.Write(body) // whoever does not read the answer does not get it
	return nil
}

// checkpoint answers with the newest signed tree head (C2SP tlog-checkpoint). It covers everything that was recorded
// before it was asked for.
func (a *API) checkpoint(c *call) error {
	head, err := a.cfg.Trees.Head(c.r.Context(), c.origin)
	if err != nil {
		return err
	}
	if len(head.Note) == 0 {
		return fault.New(fault.NotFound, "log.empty", "Nothing is recorded in this log yet.")
	}
	signed, _, _ := bytes.Cut(head.Note, signatures)
	if seen, _, found := bytes.Cut(head.Witnessed, signatures); found && bytes.Equal(seen, signed) {
		return c.write(textMedia, noStore, head.Witnessed) // the same, with more signatures
	}
	return c.write(textMedia, noStore, head.Note)
}

// signatures are what the text of a note ends before (C2SP signed-note).
var signatures = []byte("\n\n")

// witnessed answers with the newest head that a witness has signed too.
func (a *API) witnessed(c *call) error {
	head, err := a.cfg.Trees.Head(c.r.Context(), c.origin)
	if err != nil {
		return err
	}
	if len(head.Witnessed) == 0 {
		return fault.New(fault.NotFound, "log.unwitnessed", "No witness has signed a head of this log yet.")
	}
	return c.write(textMedia, noStore, head.Witnessed)
}

// tile answers with hashes or entries (C2SP tlog-tiles). Both are below tile/.
func (a *API) tile(c *call) error {
	path := "tile/" + c.r.PathValue("path")
	if strings.HasPrefix(path, "tile/entries/") {
		return a.bundle(c, path)
	}
	level, index, width, err := auditor.ParseTilePath(path)
	if err != nil {
		return front.ErrPath
	}
	hashes, err := a.cfg.Trees.Tile(c.r.Context(), c.origin.Tenant, level, index, width)
	if err != nil {
		return err
	}
	return c.write(binaryMedia, keep(width), hashes)
}

// keep says how long a tile may be kept.
func keep(width int) string {
	if width == auditor.TileWidth {
		return settled
	}
	return growing
}

// bundle answers with entries.
func (a *API) bundle(c *call, path string) error {
	index, width, err := auditor.ParseBundlePath(path)
	if err != nil {
		return front.ErrPath
	}
	entries, err := a.cfg.Trees.Entries(c.r.Context(), c.origin.Tenant, index, width)
	if err != nil {
		return err
	}
	var bundle []byte
	for _, entry := range entries {
		if bundle, err = auditor.AppendEntry(bundle, entry); err != nil {
			return fmt.Errorf("bundle %d: %w", index, err)
		}
	}
	c.w.Header().Set("Vary", "Accept-Encoding")
	if accepts(c.r.Header, "Accept-Encoding", "gzip") {
		c.w.Header().Set("Content-Encoding", "gzip")
		bundle = compress(bundle)
	}
	return c.write(binaryMedia, keep(width), bundle)
}

var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(data []byte) []byte {
	var to bytes.Buffer
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(&to)
	_, _ = z.Write(data) // to a buffer, which takes everything
	_ = z.Close()
	return to.Bytes()
}

// proof answers with the proof that an event is in the log (C2SP tlog-proof): the event of an index, the one that has a
// jti or is of the issue of the token that has it, or the first one of a decision.
func (a *API) proof(c *call) error {
	index, err := a.wanted(c)
	if err != nil {
		return err
	}
	proof, head, err := a.cfg.Trees.Inclusion(c.r.Context(), c.origin, index)
	if err != nil {
		return err
	}
	return c.write(textMedia, noStore, auditor.Proof{Index: index, Hashes: proof, Checkpoint: head.Note}.Format())
}

// wanted returns the index of the event that is to be proved.
func (a *API) wanted(c *call) (int64, error) {
	index, byIndex := c.query.number("index", 0, maxNumber)
	jti, decision := c.query.text("jti"), c.query.text("decision")
	if err := c.query.err; err != nil {
		return 0, err
	}
	var found []audit.Record
	var err error
	switch ctx, t := c.r.Context(), c.origin.Tenant; {
	case byIndex && jti == "" && decision == "":
		return index, nil
	case !byIndex && jti != "" && decision == "":
		found, err = a.cfg.Events.Named(ctx, t, jti)
	case !byIndex && jti == "" && decision != "":
		found, err = a.cfg.Events.Find(ctx, t, decision)
	default:
		err = fault.New(fault.InvalidRequest, "query", "Name the event by one of index, jti and decision.")
	}
	if err != nil {
		return 0, err
	}
	return found[0].Index, nil
}

// consistency answers with the proof that the log of one size is the beginning of the log of another, in the form in
// which witnesses take it (C2SP tlog-witness): "old <from>", and a hash a line. Where no size is asked for it leads to
// the newest checkpoint, which follows after an empty line.
func (a *API) consistency(c *call) error {
	from, given := c.query.number("from", 0, maxNumber)
	to, fixed := c.query.number("to", 0, maxNumber)
	if err := c.query.err; err != nil {
		return err
	}
	if !given {
		return fault.New(fault.InvalidRequest, "query", "The parameter from is required: the size that is known.")
	}
	head, err := a.cfg.Trees.Head(c.r.Context(), c.origin)
	if err != nil {
		return err
	}
	if !fixed {
		to = head.Size
	}
	if from > to {
		return fault.New(fault.InvalidRequest, "query", "The size in from is larger than the one that it leads to.")
	}
	if to > head.Size {
		return fault.New(fault.NotFound, "log.short", "The log does not have that many events.")
	}
	var proof tlog.TreeProof
	if from > 0 { // everything begins with nothing
		if proof, err = a.cfg.Trees.Consistency(c.r.Context(), c.origin, from, to); err != nil {
			return err
		}
	}
	text := fmt.Appendf(nil, "old %d\n", from)
	for _, h := range proof {
		text = append(text, h.String()+"\n"...)
	}
	if !fixed {
		text = append(append(text, '\n'), head.Note...)
	}
	return c.write(textMedia, noStore, text)
}

// verifierKey answers with the keys that sign checkpoints, a line each (C2SP signed-note).
func (a *API) verifierKey(c *call) error {
	all, err := a.cfg.Keys.VerifierKey(c.r.Context(), c.origin)
	if err != nil {
		return err
	}
	return c.write(textMedia, published, []byte(strings.Join(all, "\n")+"\n"))
}

// keys answers with the keys that sign events: a note, signed as checkpoints are.
func (a *API) keys(c *call) error {
	note, err := a.cfg.Keys.Keys(c.r.Context(), c.origin)
	if err != nil {
		return err
	}
	return c.write(textMedia, published, note)
}

// accepts reports whether a header of preferences (RFC 9110 §12.5) names something and does not refuse it.
func accepts(h http.Header, header, what string) bool {
	for _, value := range h.Values(header) {
		for choice := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(choice, ";")
			if strings.EqualFold(strings.TrimSpace(name), what) {
				_, weight, weighted := strings.Cut(parameters, "q=")
				return !weighted || strings.Trim(weight, "0. ") != ""
			}
		}
	}
	return false
}
