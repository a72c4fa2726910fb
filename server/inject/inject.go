package inject

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

type Injector struct{}

func New() *Injector { return &Injector{} }

type Target struct {
	Tenant  ledger.Tenant
	Request *http.Request
	Body    []byte
	Dial    *dial.Guard
}

func Place(out *http.Request, path, query string) {
	out.URL.Opaque = path
	out.URL.RawQuery = query
}

func (in *Injector) Apply(ctx context.Context, t *Target, i tools.Injection, ref vault.Ref, v *vault.Value) ([]string, error) {
	t.Request.Header.Set(i.Name, v.Field("value"))
	return []string{v.Field("value")}, nil
}
func (in *Injector) Drop(t ledger.Tenant, i tools.Injection, ref vault.Ref) {}
func Certificate(v *vault.Value) (tls.Certificate, error)                   { return tls.Certificate{}, nil }
func SignsBody(u *tools.Upstream) bool                                      { return false }
