package scrub_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bursar-sts/bursar/server/scrub"
)

// The rows are those of the attack list of the shim: what an upstream answers that has been told the key.

// TestD1AnEchoReadByteByByte masks a key that no read has whole.
func TestD1AnEchoReadByteByByte(t *testing.T) {
	body := `{"headers":{"X-Api-Key":"` + key + `"},"again":"` + key + `"}`
	r := scrub.New(key).Reader(iotest.OneByteReader(strings.NewReader(body)))
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	stars := strings.Repeat("*", len(key))
	if want := strings.ReplaceAll(body, key, stars); string(out) != want || r.Hits() != 2 {
		t.Errorf("%d hits in\n%s, want 2 in\n%s", r.Hits(), out, want)
	}
}

// TestD2AnEchoInAField masks it in headers and trailers, which early hints are too, and drops a field named after it.
func TestD2AnEchoInAField(t *testing.T) {
	s := scrub.New(key, "token-in-a-name-7")
	h := http.Header{
		"X-Echo":    {"Bearer " + key, "fine"},
		"Location":  {"https://elsewhere.example/?api_key=" + strings.ReplaceAll(key, "/", "%2f") + "&a=b"},
		"Link":      {`<https://api.example/?k=` + percentAll(key) + `>; rel="next"`},
		"Refresh":   {"0; url=/?k=" + strings.NewReplacer("/", "%2F", "+", "%2B").Replace(key)},
		"X-Basic":   {base64.StdEncoding.EncodeToString([]byte("user:" + key))},
		"X-Untouch": {"nothing here"},
	}
	h.Set("X-Token-In-A-Name-7", "1")
	h.Add("X-"+hex.EncodeToString([]byte("token-in-a-name-7")), "1")
	if hits := s.Header(h); hits != 7 {
		t.Errorf("%d hits, want 7", hits)
	}
	for name, values := range h {
		if found := leak(name+strings.Join(values, "\n"), key); found != "" {
			t.Errorf("%s: %q is left of %q", name, found, values)
		}
	}
	if len(h) != 6 || h.Get("X-Untouch") != "nothing here" || h["X-Echo"][1] != "fine" {
		t.Errorf("left are %v", h)
	}
	if got := h.Get("Location"); !strings.HasPrefix(got, "https://elsewhere.example/?api_key=**") ||
		!strings.HasSuffix(got, "*&a=b") {
		t.Errorf("Location is %q", got)
	}
}

func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// TestD3EveryEncodingOfTheList goes through them by hand, once each.
func TestD3EveryEncodingOfTheList(t *testing.T) {
	pair := "user:" + key
	date := "f2c1ee2b8a0d5f0a8cb5d6f0c2a1b4e3" // stands for a signing key that was derived
	s := scrub.New(key, base64.StdEncoding.EncodeToString([]byte(pair)), date)
	encoded := map[string]string{
		"as it is":            key,
		"base64, offset 0":    base64.StdEncoding.EncodeToString([]byte(key)),
		"base64, offset 1":    base64.StdEncoding.EncodeToString([]byte("x" + key + "y")),
		"base64, offset 2":    base64.StdEncoding.EncodeToString([]byte("xy" + key + "z")),
		"base64url, offset 0": base64.RawURLEncoding.EncodeToString([]byte(key + "??>")),
		"base64url, offset 1": base64.RawURLEncoding.EncodeToString([]byte("\xff" + key)),
		"base64url, offset 2": base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe" + key)),
		"base64 on two lines": strings.Join(cutAt(base64.StdEncoding.EncodeToString([]byte(key)), 20), "\r\n"),
		"hex":                 hex.EncodeToString([]byte(key)),
		"hex in upper case":   strings.ToUpper(hex.EncodeToString([]byte(key))),
		"percent":             percentAll(key),
		"percent in part":     strings.NewReplacer("/", "%2F", "+", "%2b", "-", "%2D").Replace(key),
		"JSON by number":      jsonAll(key),
		"JSON with slashes":   strings.ReplaceAll(key, "/", `\/`),
		"JSON within JSON":    strings.ReplaceAll(key, "/", `\\\/`),
		"HTML":                strings.NewReplacer("/", "&#x2F;", "+", "&plus;").Replace(key),
		"HTML within JSON":    strings.ReplaceAll(key, "/", `\u0026#x2F;`),
		"Basic pair":          "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)),
		"derived key":         hex.EncodeToString([]byte(date)),
	}
	for name, text := range encoded {
		b := []byte(`{"echo":"` + text + `"}`)
		if hits := s.Mask(b); hits == 0 {
			t.Errorf("%s: no hit in %s", name, b)
		}
		for _, secret := range []string{key, date} {
			if found := leak(string(b), secret); found != "" {
				t.Errorf("%s: %q is left of %s", name, found, b)
			}
		}
		if want := `{"echo":"`; !bytes.HasPrefix(b, []byte(want)) || !bytes.HasSuffix(b, []byte(`"}`)) {
			t.Errorf("%s: the rest of the text is changed: %s", name, b)
		}
	}
}

func jsonAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\u%04X`, s[i])
	}
	return b.String()
}

func cutAt(s string, n int) []string { return []string{s[:n], s[n:]} }

// TestD4EncodedBodies reads what can be undone, and refuses the rest, of a real server that was asked for identity.
func TestD4EncodedBodies(t *testing.T) {
	text := strings.Repeat("the key is "+key+" and was sent\n", 50)
	deflated := deflate(text)
	tests := []struct {
		coding  string
		body    []byte
		refused bool
	}{
		{"", []byte(text), false},
		{"identity", []byte(text), false},
		{"gzip", gzipped(text), false},
		{"X-GZip", gzipped(text), false},
		{"deflate", deflated, false},
		{"deflate", deflated[2 : len(deflated)-4], false}, // without zlib
		{"br", []byte{0x0b, 0x02, 0x80}, true},
		{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, true},
		{"gzip, gzip", gzipped(string(gzipped(text))), true},
		{"gzip", []byte(text), true},
		{"deflate", []byte("\xff" + text), true},
		{"gzip", append(gzipped(text), "and then "+key...), true},
	}
	for _, tt := range tests {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "identity" {
				t.Error("not asked for identity")
			}
			if tt.coding != "" {
				w.Header().Set("Content-Encoding", tt.coding)
			}
			w.Write(tt.body)
		}))
		out, hits, err := fetch(t, server.URL)
		server.Close()
		if found := leak(out, key); found != "" {
			t.Errorf("%q: %q is left", tt.coding, found)
		}
		switch {
		case tt.refused && !errors.Is(err, scrub.ErrUnscrubbable):
			t.Errorf("%q: %v, want ErrUnscrubbable", tt.coding, err)
		case !tt.refused && (err != nil || hits != 50 || len(out) != len(text)):
			t.Errorf("%q: %d bytes, %d hits, %v", tt.coding, len(out), hits, err)
		}
	}
}

// fetch reads a body as the shim does.
func fetch(t *testing.T, url string) (out string, hits int, err error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := scrub.Decode(resp.Header["Content-Encoding"], resp.Body, scrub.Limit{})
	if err != nil {
		return "", 0, err
	}
	r := scrub.New(key).Reader(body)
	b, err := io.ReadAll(r)
	return string(b), r.Hits(), err
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

func deflate(text string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

// TestD5AKeyCutShort masks what the end of a body leaves of a key, in any encoding: what Range would do at the end of
// a slice. Slices that begin within a key are not for the scrubber: the shim does not pass Range on.
func TestD5AKeyCutShort(t *testing.T) {
	s := scrub.New(key)
	for name, text := range map[string]string{
		"as it is": key,
		"base64":   base64.StdEncoding.EncodeToString([]byte(key)),
		"hex":      hex.EncodeToString([]byte(key)),
		"percent":  percentAll(key),
		"JSON":     jsonAll(key),
		"folded":   strings.Join(cutAt(base64.StdEncoding.EncodeToString([]byte(key)), 9), "\n"),
	} {
		for end := range len(text) {
			r := s.Reader(io.MultiReader(strings.NewReader("echo: "+text[:end]), iotest.ErrReader(io.ErrUnexpectedEOF)))
			out, err := io.ReadAll(r)
			if err != io.ErrUnexpectedEOF || len(out) != len("echo: ")+end {
				t.Fatalf("%s: %q, %v", name, out, err)
			}
			if found := leakOf(string(out), key, 12); found != "" {
				t.Errorf("%s: %q is left of %q", name, found, out)
			}
		}
	}
}

// TestD6LargeBodies scrubs bodies of 12 MB, and says how often it did.
func TestD6LargeBodies(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	var text strings.Builder
	want := 0
	for text.Len() < 12<<20 {
		text.WriteString(strings.Repeat("for the year, and for the next one\n", random.IntN(2000)))
		e := encodings[random.IntN(len(encodings))]
		text.WriteString(" " + e.encode(random, key) + " ")
		want++
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, text.String()) // chunked: nobody knows the length
	}))
	defer server.Close()
	out, hits, err := fetch(t, server.URL)
	if err != nil || hits != want || len(out) != text.Len() {
		t.Fatalf("%d bytes of %d, %d hits of %d, %v", len(out), text.Len(), hits, want, err)
	}
	if found := leakAsIs(out, key, 8); found != "" {
		t.Errorf("%q is left", found)
	}
}

// TestD6AnEventLeavesAtOnce proves that all of an event has been read before anything is asked of the source again,
// whatever the event ends in: nothing waits for the next event.
func TestD6AnEventLeavesAtOnce(t *testing.T) {
	s := scrub.New(key)
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		end := []string{"\n\n", "\r\n\r\n", "\r\r"}[r.IntN(3)]
		var events []string
		for range 5 {
			h := hide(r, key)
			text := strings.NewReplacer("\r", "", "\n\n", "\n").Replace(h.text)
			events = append(events, "data: "+text+[]string{"", key[:r.IntN(len(key))], "%", `\`, "&am"}[r.IntN(5)]+end)
		}
		sent, got := 0, 0
		src := readFunc(func(p []byte) (int, error) {
			if got != sent {
				t.Fatalf("seed %d: %d of %d bytes have left when the next event is asked for", seed, got, sent)
			}
			if len(events) == 0 {
				return 0, io.EOF
			}
			n := copy(p, events[0])
			if n < len(events[0]) {
				t.Fatal("no room for an event")
			}
			events = events[1:]
			sent += n
			return n, nil
		})
		p := make([]byte, 64<<10)
		reader := s.Reader(src)
		for {
			n, err := reader.Read(p)
			if got += n; err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestD7CredentialsInFields masks the fields that the shim drops as well, should a route keep one.
func TestD7CredentialsInFields(t *testing.T) {
	h := http.Header{}
	for _, name := range []string{"Set-Cookie", "WWW-Authenticate", "Authentication-Info", "Proxy-Authenticate",
		"Alt-Svc"} {
		h.Add(name, `session="`+key+`"; Path=/`)
		h.Add(name, base64.URLEncoding.EncodeToString([]byte(key)))
	}
	if hits := scrub.New(key).Header(h); hits != 10 {
		t.Errorf("%d hits, want 10", hits)
	}
	for name, values := range h {
		if found := leak(strings.Join(values, " "), key); found != "" {
			t.Errorf("%s: %q is left", name, found)
		}
	}
}

// TestD8AnswersWithoutABody have headers, as a real server sends them.
func TestD8AnswersWithoutABody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("X-Api-Key"))
		w.Header().Set("ETag", `"`+hex.EncodeToString([]byte(r.Header.Get("X-Api-Key")))+`"`)
		var status int
		fmt.Sscan(r.URL.Path[1:], &status)
		w.WriteHeader(status)
	}))
	defer server.Close()
	for _, call := range []string{"HEAD /200", "GET /204", "GET /304"} {
		method, path, _ := strings.Cut(call, " ")
		req, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", key)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if hits := scrub.New(key).Header(resp.Header); hits != 2 {
			t.Errorf("%s: %d hits in %v", call, hits, resp.Header)
		}
		if found := leak(resp.Header.Get("X-Echo")+resp.Header.Get("ETag"), key); found != "" {
			t.Errorf("%s: %q is left", call, found)
		}
	}
}

// TestD10Bombs stops bodies that unpack to more than they may, and those that never end.
func TestD10Bombs(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	zeros := make([]byte, 1<<20)
	for range 100 {
		w.Write(zeros)
	}
	w.Close()
	endless := readFunc(func(p []byte) (int, error) { return len(p), nil })
	tests := []struct {
		name   string
		coding string
		body   io.Reader
		limit  scrub.Limit
		most   int64
	}{
		{"ratio", "gzip", &bomb, scrub.Limit{Bytes: 1 << 40}, 11 << 20},
		{"size", "gzip", bytes.NewReader(gzipped(prose)), scrub.Limit{Bytes: 100_000, Ratio: 1 << 40}, 100_000},
		{"endless", "", endless, scrub.Limit{Bytes: 1 << 20}, 1 << 20},
	}
	for _, tt := range tests {
		body, err := scrub.Decode([]string{tt.coding}, io.NopCloser(tt.body), tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, scrub.New(key).Reader(body))
		if !errors.Is(err, scrub.ErrUnscrubbable) || n > tt.most {
			t.Errorf("%s: %d bytes and %v; want at most %d and ErrUnscrubbable", tt.name, n, err, tt.most)
		}
		if _, err := body.Read(make([]byte, 1)); !errors.Is(err, scrub.ErrUnscrubbable) {
			t.Errorf("%s: goes on with %v", tt.name, err)
		}
	}
}

var prose = strings.Repeat("The invoice for July was paid on the 3rd; a copy went to Mrs Okafor.\n", 5000)

// TestD11AShortKey is not searched for in text, and is masked in headers where it stands alone.
func TestD11AShortKey(t *testing.T) {
	s := scrub.New("invoice")
	if b := []byte(prose); s.Mask(b) != 0 || string(b) != prose {
		t.Error("a short value was masked in text")
	}
	h := http.Header{
		"X-Echo":  {"invoice", "Bearer invoice; x", "k=invoice,invoice", "invoices", "my_invoice"},
		"invoice": {"1"},
	}
	if hits := s.Header(h); hits != 5 {
		t.Errorf("%d hits, want 5", hits)
	}
	want := "******* | Bearer *******; x | k=*******,******* | invoices | my_invoice"
	if got := strings.Join(h["X-Echo"], " | "); got != want || len(h) != 1 {
		t.Errorf("%s, want %s", got, want)
	}
}
