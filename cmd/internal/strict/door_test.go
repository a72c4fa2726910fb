package strict_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

func TestADoorIsForProxiesAlone(t *testing.T) {
	tls := strict.TLS{Cert: "a.pem", Key: "a.key"}
	for _, d := range []strict.Door{
		{Listen: "unix:/run/bursar/decide.sock"},
		{Listen: "unix:decide.sock"},
		{Listen: "127.0.0.1:9101", TLS: tls, ClientCA: "ca.pem"},
		{Listen: "[::]:9101", TLS: tls, ClientCA: "ca.pem", Clients: []string{"a.example", "spiffe://a.example/b"}},
	} {
		if found := d.Check("d"); len(found) > 0 || !d.Given() {
			t.Errorf("%+v: %v", d, found)
		}
	}
	for _, row := range []struct {
		door strict.Door
		want string // paths of the mistakes
	}{
		{strict.Door{Listen: "127.0.0.1:9101"}, "d.tls.cert d.tls.key d.client_ca"},
		{strict.Door{Listen: "127.0.0.1:9101", TLS: tls}, "d.client_ca"},
		{strict.Door{Listen: "127.0.0.1:9101", ClientCA: "ca.pem"}, "d.tls.cert d.tls.key"},
		{strict.Door{Listen: "/run/d.sock", TLS: tls, ClientCA: "ca.pem"}, "d.listen"},
		{strict.Door{TLS: tls, ClientCA: "ca.pem"}, "d.listen"},
		{strict.Door{Listen: "unix:"}, "d.listen"},
		{strict.Door{Listen: "unix:/run/d.sock", ClientCA: "ca.pem"}, "d"},
		{strict.Door{Listen: "unix:/run/d.sock", TLS: tls}, "d"},
		{strict.Door{Listen: "unix:/run/d.sock", Clients: []string{"a.example"}}, "d"},
		{strict.Door{Listen: "a:1", TLS: tls, ClientCA: "ca.pem", Clients: []string{"*.example"}}, "d.clients"},
		{strict.Door{Listen: "a:1", TLS: tls, ClientCA: "ca.pem", Clients: []string{""}}, "d.clients"},
	} {
		var paths []string
		for _, m := range row.door.Check("d") {
			paths = append(paths, m.Path)
		}
		if got := strings.Join(paths, " "); got != row.want {
			t.Errorf("%+v: mistakes at %q, want %q", row.door, got, row.want)
		}
	}
}

func TestTheFilesOfADoorAreBesideItsConfiguration(t *testing.T) {
	d := strict.Door{Listen: "unix:decide.sock", TLS: strict.TLS{Cert: "a.pem", Key: "/a.key"}, ClientCA: "ca.pem"}
	d = d.Under("/srv")
	got := []string{d.Listen, d.TLS.Cert, d.TLS.Key, d.ClientCA}
	if want := []string{"unix:/srv/decide.sock", "/srv/a.pem", "/a.key", "/srv/ca.pem"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if none := (strict.Door{}).Under("/srv"); none.Given() {
		t.Errorf("a door where there was none: %+v", none)
	}
	missing := filepath.Join(t.TempDir(), "none")
	_, found := strict.Door{TLS: strict.TLS{Cert: missing, Key: missing}, ClientCA: missing}.Load("d")
	if len(found) != 2 || found[0].Path != "d.tls" || found[1].Path != "d.client_ca" {
		t.Errorf("of files that are not there: %v", found)
	}
	if _, found := (strict.Door{}).Load("d"); len(found) > 0 {
		t.Errorf("of no door: %v", found)
	}
}
