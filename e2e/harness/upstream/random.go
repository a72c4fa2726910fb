package upstream

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Plan is an answer that follows from a seed: what it holds of the key, in which forms, in which places, and how it is
// split. The same seed and key give the same plan, so that a test knows what was sent.
type Plan struct {
	Response
	Plain   []byte   // the body before its coding
	Planted []string // every text that stands for the key, in the order of the body
	Coding  string   // of the content; empty for none
	What    string   // for messages
}

// NewPlan returns the plan of a seed.
func NewPlan(seed uint64, key string) Plan {
	r := rand.New(rand.NewPCG(seed, 0x6563686f))
	p := Plan{}
	forms := Forms()
	pick := func() Form { return forms[r.IntN(len(forms))] }
	var names []string
	for range 1 + r.IntN(4) {
		form := pick()
		before, after := filler(r), filler(r)
		text := form.Encode(before + key + after)
		p.Planted = append(p.Planted, text)
		p.Plain = append(p.Plain, filler(r)+"\n"+text+"\n"...)
		names = append(names, form.Name)
	}
	p.Plain = append(p.Plain, filler(r)...)
	p.Header = []Field{{"Content-Type", [...]string{"text/plain", "application/json", "text/event-stream", "text/html",
		"application/octet-stream"}[r.IntN(5)]}}
	p.Coding = [...]string{"", "", "", "gzip", "zlib", "deflate", "br", "zstd"}[r.IntN(8)]
	if p.Coding != "" {
		p.Header = append(p.Header, Field{"Content-Encoding", strings.Replace(p.Coding, "zlib", "deflate", 1)})
	}
	p.Body = Code(p.Coding, p.Plain)
	p.Framing = Framing(r.IntN(3))
	in := pick()
	p.Status = [...]int{200, 200, 200, 201, 400, 404, 418, 500, 503}[r.IntN(9)]
	value := line(filler(r) + in.Encode(key) + filler(r))
	for _, place := range r.Perm(4)[:r.IntN(4)] {
		switch place {
		case 0:
			p.Header = append(p.Header, Field{"X-Echo", value})
		case 1:
			p.Reason = flat(value)
		case 2:
			p.Early = []Field{{"Link", value}}
		case 3:
			if p.Framing == Chunked {
				p.Trailer = []Field{{"X-Echo", value}}
			}
		}
	}
	p.split(r)
	p.What = fmt.Sprintf("seed %d: %s in %s, %d pieces, coding %q, framing %d, header form %s", seed,
		strings.Join(names, "+"), p.Header[0].Value, len(p.Pieces), p.Coding, p.Framing, in.Name)
	return p
}

// split cuts the body at random places: somewhere, or all within a few bytes of each other.
func (p *Plan) split(r *rand.Rand) {
	if len(p.Body) == 0 {
		return
	}
	at := r.IntN(len(p.Body))
	for range r.IntN(8) {
		size := 1 + r.IntN(40)
		if len(p.Pieces) == 0 {
			size = at
		}
		p.Pieces = append(p.Pieces, size)
	}
	p.Pause = time.Duration(r.IntN(300)) * time.Microsecond
}

// filler is text such as may stand around a key: of nearly the same characters, so that alignments and near misses
// come about.
func filler(r *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-_.%&;:,?\"'\\<> "
	b := make([]byte, r.IntN(60))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

func random(x *Exchange, rest []string) bool {
	seed, err := strconv.ParseUint(rest[0], 10, 64)
	if err != nil {
		return false
	}
	x.Send(NewPlan(seed, x.Key).Response)
	return true
}
