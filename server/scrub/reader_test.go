package scrub_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bursar-sts/bursar/server/scrub"
)

// TestOnlyAPossiblePartWaits says how many of the last bytes are kept back until more has come.
func TestOnlyAPossiblePartWaits(t *testing.T) {
	tests := []struct {
		text  string
		waits int
	}{
		{"nothing of it\n", 0},
		{"data: ok\n\n", 0},
		{"it begins with s", 1},
		{"it begins with sk-live-4Zt", len("sk-live-4Zt")},
		{"it began with sk-live-4Zu", 0},
		{"s\n", 0},                         // too little of a value for a line break within
		{"sk-l\n", 5},                      // but this may go on
		{"sk-l\n\n", 0},                    // and this not
		{"sk-l\r\n", 6},                    //
		{"sk-l\r\n\r\n", 0},                //
		{"sk-l\n   data: ", 14},            //
		{"100%", 1},                        // an escape may follow
		{"100%2", 2},                       //
		{"100%2f", 0},                      // which is not of the key
		{"100%73", 3},                      // and this is
		{"R&D", 2},                         // may become an entity
		{"R&D ", 0},                        //
		{"R&Dmarketing", 0},                // longer than any
		{`C:\`, 1},                         //
		{`C:\q`, 0},                        //
		{"...736b", 4},                     // hex
		{"...c2stbGl2", len("c2stbGl2")},   // base64
		{key + " and " + key, 0},           //
		{strings.Repeat("s", 100_000), 1},  //
		{strings.Repeat("sk", 100_000), 2}, //
	}
	for _, tt := range tests {
		given := false
		r := scrub.New(key).Reader(readFunc(func(p []byte) (int, error) {
			if given {
				return 0, errMore
			}
			given = true
			return copy(p, "~ "+tt.text), nil
		}))
		n, err := r.Read(make([]byte, 1<<20))
		if left := len("~ "+tt.text) - n; err != nil || left != tt.waits {
			t.Errorf("%.40q: %d bytes wait, want %d (%v)", tt.text, left, tt.waits, err)
		}
		if rest, err := io.ReadAll(r); err != errMore || len(rest) != tt.waits {
			t.Errorf("%.40q: then come %q and %v", tt.text, rest, err)
		}
	}
}

var errMore = errors.New("more is to come")

// TestReadKeepsToItsContract checks it against what the standard library expects of a reader, over plain and secret
// text.
func TestReadKeepsToItsContract(t *testing.T) {
	for _, text := range []string{"", "short", prose[:3000], strings.Repeat(key+" & "+percentAll(key)+"\n", 99)} {
		masked := []byte(text)
		scrub.New(key).Mask(masked)
		if err := iotest.TestReader(scrub.New(key).Reader(strings.NewReader(text)), masked); err != nil {
			t.Error(err)
		}
	}
	failed := errors.New("failed")
	r := scrub.New(key).Reader(io.MultiReader(strings.NewReader("before "+key[:20]), iotest.ErrReader(failed)))
	if out, err := io.ReadAll(r); err != failed || string(out) != "before "+strings.Repeat("*", 20) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := r.Read(make([]byte, 10)); err != failed {
		t.Errorf("then %v", err)
	}
}

// TestNothingToFind passes everything on.
func TestNothingToFind(t *testing.T) {
	var none *scrub.Scrubber
	if scrub.New() != nil || scrub.New("", "") != nil {
		t.Error("a scrubber of nothing is not nil")
	}
	b := []byte(key)
	if _, hits := none.String(key); none.Mask(b) != 0 || hits != 0 || none.Header(map[string][]string{"A": {key}}) != 0 {
		t.Error("a nil scrubber finds something")
	}
	if out, err := io.ReadAll(none.Reader(strings.NewReader(key))); err != nil || string(out) != key {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := io.ReadAll(none.Frames(strings.NewReader(string(stream(frame{0x81, key}))), 100)); err != nil ||
		parse(t, out)[0].payload != key {
		t.Errorf("%q, %v", out, err)
	}
}

// TestPlainTextCostsNoMemory reads a megabyte with one allocation, that of the reader.
func TestPlainTextCostsNoMemory(t *testing.T) {
	s := scrub.New(key)
	buf, text, src := make([]byte, 32<<10), prose+prose+prose, strings.NewReader("")
	allocs := testing.AllocsPerRun(10, func() {
		src.Reset(text)
		r := s.Reader(src)
		for err := error(nil); err == nil; {
			_, err = r.Read(buf)
		}
	})
	if allocs > 3 {
		t.Errorf("%v allocations", allocs)
	}
	b := []byte(text)
	if allocs := testing.AllocsPerRun(10, func() { s.Mask(b) }); allocs > 0 {
		t.Errorf("%v allocations of Mask", allocs)
	}
}

// TestATextThatNeverLeavesAValue keeps its memory: a value that repeats itself, in a body that does as well, escaped.
func TestATextThatNeverLeavesAValue(t *testing.T) {
	s := scrub.New(strings.Repeat("ab", 500) + "!")
	body := strings.Repeat(`\u0061%62`, 60_000)
	before := heap()
	r := s.Reader(strings.NewReader(body))
	p := make([]byte, 32<<10)
	size := 0
	for size < len(body)-100_000 {
		n, err := r.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes more after %d of text", grown, size)
	}
	rest, err := io.ReadAll(r)
	if err != nil || size+len(rest) != len(body) || r.Hits() != 1 { // the end may be the beginning of the value
		t.Errorf("%d bytes of %d, %d hits, %v", size+len(rest), len(body), r.Hits(), err)
	}
}

func heap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// TestValuesThatOverlap finds the second one, of which the first one has the beginning, escaped as well.
func TestValuesThatOverlap(t *testing.T) {
	text := "one-key-0123-other-key"
	s := scrub.New("one-key-0123", "0123-other-key")
	for _, text := range []string{text, percentAll(text), jsonAll(text), hex.EncodeToString([]byte(text))} {
		out, err := io.ReadAll(s.Reader(iotest.OneByteReader(strings.NewReader(text))))
		if err != nil || strings.Trim(string(out), "*") != "" {
			t.Errorf("%q of %q, %v", out, text, err)
		}
	}
}

// FuzzReader holds a stream against the text as a whole: the same is masked, and only what hides a value.
func FuzzReader(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		value := someKey(r)
		f.Add(value, someKey(r), hide(r, value).text, seed)
	}
	f.Add(`\\\\\\\\`, "%25%25%25", strings.Repeat(`\`, 99)+"%25%25%25%25", uint64(1))
	f.Add("aaaaaaaaaaaaaaaa", "AAAAAAAAAAAAAAAA", "aaaa\naaaa%41&#97;aaaaaaaAAAA", uint64(2))
	f.Fuzz(func(t *testing.T, one, other, text string, seed uint64) {
		s := scrub.New(one, other)
		masked := []byte(text)
		hits := s.Mask(masked)
		if len(masked) != len(text) || hits == 0 != (string(masked) == text) && !strings.Contains(one+other, "*") {
			t.Errorf("%q became %q with %d hits", text, masked, hits)
		}
		for _, value := range []string{one, other} {
			if len(value) >= scrub.Shortest && strings.Trim(value, "*") != "" && strings.Contains(string(masked), value) {
				t.Errorf("%q is left of %q", value, masked)
			}
		}
		r := rand.New(rand.NewPCG(seed, 5))
		reader := s.Reader(parts(r, text))
		out, err := readIn(r, reader)
		if err != nil || string(out) != string(masked) || reader.Hits() != hits {
			t.Errorf("%q and %q: %q as a stream, with %d hits; %q as a whole, with %d: %v",
				one, other, out, reader.Hits(), masked, hits, err)
		}
	})
}

func ExampleScrubber_String() {
	s := scrub.New("correct horse battery")
	masked, hits := s.String(`{"said": "correct\u0020horse battery"}`)
	fmt.Println(masked, hits)
	// Output: {"said": "**************************"} 1
}

// TestFurtherValues are found beside the others, in everything.
func TestFurtherValues(t *testing.T) {
	const once = "signature-0123456789abcdef"
	s := scrub.New(key).With().With(once)
	text := key + " and " + percentAll(once) + ", " + once
	want := len(text) - strings.Count(text, " ") - len("and,")
	b := []byte(text)
	masked, hits := s.String(text)
	h := map[string][]string{"X-Echo": {text}, "X-" + once: {""},
		"X-" + strings.ToUpper(hex.EncodeToString([]byte(key))): {""}}
	r := s.Reader(iotest.OneByteReader(strings.NewReader(text)))
	streamed, err := io.ReadAll(r)
	frames := s.Frames(strings.NewReader(string(stream(frame{0x81, text}))), 1000)
	framed, frameErr := io.ReadAll(frames)
	if s.Mask(b) != 3 || hits != 3 || s.Header(h) != 5 || r.Hits() != 3 || frames.Hits() != 3 || err != nil ||
		frameErr != nil {
		t.Errorf("%s: %d hits as a string, %d as a stream, %d in a frame", b, hits, r.Hits(), frames.Hits())
	}
	for _, out := range []string{string(b), masked, h["X-Echo"][0], string(streamed), parse(t, framed)[0].payload} {
		if strings.Count(out, "*") != want || len(out) != len(text) || len(h) != 1 {
			t.Errorf("%s", out)
		}
	}
	var none *scrub.Scrubber
	if none.With() != nil || none.With(once).Mask([]byte(once)) != 1 {
		t.Error("nothing and something is not that")
	}
}
