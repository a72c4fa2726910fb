package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a command line, and returns what it printed.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestCommands(t *testing.T) {
	path := files(t, "")
	for _, row := range []struct {
		args []string
		code int
		says string // of either
	}{
		{[]string{"version"}, exitDone, "bursar-shim "},
		{[]string{"-h"}, exitDone, "usage: bursar-shim"},
		{[]string{"config", "check", "--config", path}, exitDone, "for acme"},
		{[]string{"config", "check", "--config", path + ".not"}, exitRefused, "no such file"},
		{[]string{"--config", path + ".not"}, exitRefused, "no such file"},
		{[]string{"config"}, exitUsage, "usage: bursar-shim"},
		{[]string{"serve"}, exitUsage, "usage: bursar-shim"},
		{[]string{"version", "please"}, exitUsage, "usage: bursar-shim"},
		{[]string{"--config", path, "version"}, exitUsage, "usage: bursar-shim"},
		{[]string{"--nothing"}, exitUsage, "usage: bursar-shim"},
	} {
		code, out, errs := command(t, row.args...)
		if code != row.code || !strings.Contains(out+errs, row.says) || (code == exitDone) != (errs == "") {
			t.Errorf("%q: %d, %q, %q", row.args, code, out, errs)
		}
	}
	broken := filepath.Join(t.TempDir(), defaultFile)
	if err := os.WriteFile(broken, []byte("listen: nowhere\nurl: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "config", "check", "--config", broken); code != exitRefused ||
		strings.Count(errs, "\n") < 5 || !strings.Contains(errs, "shim_key: is required") {
		t.Errorf("not all mistakes are printed: %d %s", code, errs)
	}
}

func TestHealth(t *testing.T) {
	status := http.StatusOK
	asked := ""
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		w.WriteHeader(status)
	}))
	path := files(t, "")
	text := strings.Replace(least, "127.0.0.1:8081\n", front.Listener.Addr().String()+"\n", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "health", "--config", path); code != exitDone || out != "ready\n" ||
		asked != "/readyz" {
		t.Errorf("%d %q %q, asked %s", code, out, errs, asked)
	}
	status = http.StatusServiceUnavailable
	if code, _, errs := command(t, "health", "--config", path); code != exitRefused || !strings.Contains(errs, "503") {
		t.Errorf("%d %q", code, errs)
	}
	front.Close()
	if code, _, errs := command(t, "health", "--config", path); code != exitUnknown || errs == "" {
		t.Errorf("%d %q", code, errs)
	}
	doors := strings.Replace(least, "listen: 127.0.0.1:8081\n", "decide: {listen: \"unix:d.sock\"}\n", 1)
	if err := os.WriteFile(path, []byte(doors), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "health", "--config", path); code != exitRefused ||
		!strings.Contains(errs, "no listen") {
		t.Errorf("%d %q", code, errs)
	}
}

// A shim whose Redis is away does not start, and says so; nothing of it is left.
func TestTheStoreIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	path := files(t, "")
	text := strings.Replace(least, "127.0.0.1:6379", address, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "--config", path); code != exitRefused || !strings.Contains(errs, "store") {
		t.Errorf("%d %q", code, errs)
	}
}
