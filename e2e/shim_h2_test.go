package e2e_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestFloodsOfHTTP2: row C8 of the attacks. What is too much ends a connection, and nobody else's.
func TestFloodsOfHTTP2(t *testing.T) {
	t.Parallel()
	forms := []string{"embedded", "standalone"}
	if !harness.Full() {
		forms = forms[:1]
	}
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			shim := securedShim(t, form)
			against(t, "C8", "headers that never end", func(t *testing.T) { endlessHeaders(t, shim) })
			against(t, "C8", "streams that are reset at once", func(t *testing.T) { resetStreams(t, shim) })
			against(t, "C8", "too many streams", func(t *testing.T) { manyStreams(t, shim) })
		})
	}
}

// securedShim returns the URL of a shim that speaks TLS, and HTTP/2 over it. It has no tool: the floods come before one
// is looked for.
func securedShim(t *testing.T, form string) string {
	t.Helper()
	authority := upstream.NewAuthority(t)
	certificate, key := authority.Issue(t, "127.0.0.1")
	if form == "embedded" {
		s := harness.StartSecured(t, certificate, key, authority.PEM)
		s.ServeShim(t)
		return s.Shim
	}
	s := harness.Start(t, "redis")
	s.ApartShim(t)
	s.Apply(t, "apiVersion: bursar/v1\ntenant: acme\n")
	dir := t.TempDir()
	write(t, dir+"/cert.pem", certificate)
	write(t, dir+"/key.pem", key)
	o := s.StartOutpost(t, "", "acme")
	o.Stop()
	config, err := os.ReadFile(o.Config())
	if err != nil {
		t.Fatal(err)
	}
	write(t, o.Config(), string(config)+"tls: {cert: "+dir+"/cert.pem, key: "+dir+"/key.pem}\n")
	o.Launch(t)
	shim := strings.Replace(s.Shim, "http:", "https:", 1)
	harness.Eventually(t, "the shim speaks TLS", func() bool { return answersH2(shim) == nil })
	return shim
}

// request is the head of a request without a token.
func h2request(shim, method string) []byte {
	host := strings.TrimSuffix(strings.TrimPrefix(shim, "https://"), "/shim")
	return raw.Block(raw.Field{Name: ":method", Value: method}, raw.Field{Name: ":scheme", Value: "https"},
		raw.Field{Name: ":authority", Value: host}, raw.Field{Name: ":path", Value: "/shim/t/acme/legacy/v1/items/1"})
}

// answersH2 makes an honest request, and returns why it is not answered.
func answersH2(shim string) error {
	c, err := raw.OpenH2(shim)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Send(raw.Frame{Type: raw.FrameHeaders, Flags: raw.FlagEndHeaders | raw.FlagEndStream, Stream: 1,
		Payload: h2request(shim, "GET")}); err != nil {
		return err
	}
	for {
		f, err := c.Receive()
		if err != nil || f.Type == raw.FrameHeaders && f.Stream == 1 {
			return err
		}
	}
}

func endlessHeaders(t *testing.T, shim string) {
	c, err := raw.OpenH2(shim)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Send(raw.Frame{Type: raw.FrameHeaders, Flags: raw.FlagEndStream, Stream: 1, Payload: h2request(shim, "GET")})
	more := raw.Frame{Type: raw.FrameContinuation, Stream: 1,
		Payload: raw.Block(raw.Field{Name: "x-more", Value: strings.Repeat("x", 16000)})}
	sent := 0
	for ; err == nil && sent < 4000; sent++ { // 64 MB
		err = c.Send(more)
	}
	if err == nil {
		t.Errorf("%d frames of headers were taken", sent)
	}
	if err := answersH2(shim); err != nil {
		t.Errorf("others: %v", err)
	}
}

func resetStreams(t *testing.T, shim string) {
	c, err := raw.OpenH2(shim)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	head := h2request(shim, "GET")
	for stream := uint32(1); err == nil && stream < 20000; stream += 2 {
		err = c.Send(raw.Frame{Type: raw.FrameHeaders, Flags: raw.FlagEndHeaders | raw.FlagEndStream, Stream: stream,
			Payload: head},
			raw.Frame{Type: raw.FrameReset, Stream: stream, Payload: []byte{0, 0, 0, 8}})
	}
	if err := answersH2(shim); err != nil {
		t.Errorf("others: %v", err)
	}
}

// manyStreams opens streams that wait for their bodies.
func manyStreams(t *testing.T, shim string) {
	c, err := raw.OpenH2(shim)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const streams = 2000
	head := raw.Frame{Type: raw.FrameHeaders, Flags: raw.FlagEndHeaders, Payload: h2request(shim, "POST")}
	for i := range uint32(streams) {
		if head.Stream = 2*i + 1; c.Send(head) != nil {
			break
		}
	}
	_ = c.Send(raw.Frame{Type: raw.FramePing, Payload: []byte("the last")})
	refused, ended := 0, false
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && !ended; {
		f, err := c.Receive()
		switch {
		case err != nil, f.Type == raw.FrameGoAway, f.Type == raw.FramePing && f.Flags&raw.FlagAck != 0:
			ended = true
		case f.Type == raw.FrameReset:
			refused++
		}
	}
	if refused == 0 && !ended {
		t.Errorf("%d streams at once were taken", streams)
	}
	if err := answersH2(shim); err != nil {
		t.Errorf("others: %v", err)
	}
}
