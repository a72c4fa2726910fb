package serve

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/audit/audittest"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// platformLog returns the events of the platform's log, as "name outcome reason", of a server that has ended. Those of
// the server itself must say what it was.
func platformLog(t *testing.T, s *Server) (all []string) {
	t.Helper()
	store, err := storage.Open(t.Context(), storage.Config{URL: s.cfg.Secrets.StoreURL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	l := audit.New(audit.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	audittest.CheckLog(t, l, ledger.Platform)
	records, err := l.Read(t.Context(), ledger.Platform, 0, audit.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		name, b, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "server.") && (b.Server.Version != "v1.2.3" ||
			!strings.HasPrefix(b.Server.Durability, "An acknowledged write ") || b.Request.Node != node()) {
			t.Errorf("recorded %s", r.Claims)
		}
		all = append(all, strings.TrimSpace(name+" "+string(b.Outcome)+" "+b.Reason))
	}
	return all
}

// wantLog expects those events after the two of the keys that the log was begun with.
func wantLog(t *testing.T, s *Server, want ...string) {
	t.Helper()
	want = append([]string{"log.key allowed", "log.key allowed"}, want...)
	if got := platformLog(t, s); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("the log is %q, want %q", got, want)
	}
}

func TestAStartAndAnEndAreRecorded(t *testing.T) {
	s := start(t, func(*config.Config) {})
	if _, err := s.PlatformOperators(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	wantLog(t, s.Server, "writer.start allowed", "server.start allowed", "auth.admin allowed", "server.stop allowed",
		"writer.stop allowed")
}

func TestAListenerThatFailsIsRecordedAsTheEnd(t *testing.T) {
	s := start(t, func(*config.Config) {})
	_ = s.ports[0].Listener.Close()
	if err := <-s.ended; err == nil {
		t.Error("it ended without an error")
	}
	wantLog(t, s.Server, "writer.start allowed", "server.start allowed", "server.stop error server.failed",
		"writer.stop allowed")
}

// A server whose start cannot be recorded serves all the same, because somebody may have to revoke, and says so.
func TestAStartThatIsNotRecordedIsSaid(t *testing.T) {
	s := start(t, func(*config.Config) {})
	s.stop()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	failing := s.cfg
	failing.Config.BaseURL = "" // a log without an origin takes nothing
	failing.Logger = slog.New(slog.NewTextHandler(&said, nil))
	ctx, stop := context.WithCancel(t.Context())
	other, err := Start(ctx, failing)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := other.Run(ctx); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"the start is not recorded", "the end is not recorded"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the server's log does not say that %s:\n%s", want, &said)
		}
	}
	wantLog(t, s.Server, "writer.start allowed", "server.start allowed", "server.stop allowed", "writer.stop allowed")
}
