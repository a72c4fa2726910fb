package serve_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/serve"
)

// start starts a server on free ports and an embedded store. What Run returns comes out of ended once stop was called.
func start(t *testing.T, change func(*config.Config)) (client *operator.Client, stop func(), ended <-chan error) {
	t.Helper()
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = "127.0.0.1:0"
	if change != nil {
		change(c)
	}
	secrets, found := c.Secrets()
	if len(found) > 0 {
		t.Fatal(found)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	s, err := serve.Start(ctx, serve.Config{Config: c, Secrets: secrets, Version: "v1.2.3",
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx) }()
	token, err := config.AdminToken(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return &operator.Client{BaseURL: "http://" + s.Address(), Token: token}, stop, result
}

// A server that is told to end does not wait for those who wait for events; it answers them.
func TestEndsWhileTheLogIsFollowed(t *testing.T) {
	client, stop, ended := start(t, nil)
	handled := make(chan struct{})
	client.HTTP = &http.Client{Transport: notify{handled}}
	followed := make(chan error, 1)
	go func() {
		page, err := client.PlatformEvents(t.Context(), operator.EventQuery{After: 1000, Wait: operator.MaxWait})
		if err == nil && page.Next != 1000 {
			t.Errorf("the follower goes on at %d", page.Next)
		}
		followed <- err
	}()
	<-handled
	stop()
	if err := <-ended; err != nil { // an error is what is left after the bound of the drain
		t.Error(err)
	}
	select {
	case err := <-followed:
		if err != nil {
			t.Error("the follower was not answered:", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the follower still waits")
	}
}

// notify tells when a request is with its handler: that asks for the rest of it, which is empty.
type notify struct{ handled chan struct{} }

func (n notify) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{Got100Continue: func() { close(n.handled) }}
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	r.Header.Set("Expect", "100-continue")
	r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	return (&http.Transport{ExpectContinueTimeout: time.Minute, DisableKeepAlives: true}).RoundTrip(r)
}
