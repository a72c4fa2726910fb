// Package adminapi is the admin API over HTTP: the paths and JSON of clients/operator in front of package admin. It
// decides nothing; a handler parses, calls one method and translates the answer.
package adminapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/front"
)

// Prefix begins every path of the admin API.
const Prefix = "/admin/v1"

// Config is what an API needs.
type Config struct {
	Service *admin.Service // required
	// Version is what GET /version answers, beside the release of Go.
	Version string
	Logger  *slog.Logger // default slog.Default()
}

// API serves everything below Prefix. Its zero value serves nothing.
//
// A page of events may be waited for up to admin.MaxWait, so the server's write timeout must be longer.
type API struct {
	cfg   Config
	front front.Front
	mux   *http.ServeMux
}

// New returns the API.
func New(cfg Config) *API {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &API{cfg: cfg, mux: http.NewServeMux(),
		front: front.Front{Desk: cfg.Service, Logger: cfg.Logger, Name: "admin call"}}
	byPath := map[string]map[string]route{}
	for _, r := range routes() {
		if byPath[r.path] == nil {
			byPath[r.path] = map[string]route{}
		}
		byPath[r.path][r.method] = r
	}
	for p, methods := range byPath {
		a.mux.Handle(Prefix+p, a.dispatch(methods))
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.front.Fail(w, r, front.ErrPath) })
	return a
}

// ServeHTTP answers one call.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	defer a.front.Survive(w, r)
	// The mux would redirect from a path that is not clean, and an operator token is not to follow.
	if a.mux == nil || path.Clean(r.URL.Path) != r.URL.Path {
		a.front.Fail(w, r, front.ErrPath)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// dispatch serves one path.
func (a *API) dispatch(methods map[string]route) http.Handler {
	var allowed []string
	for method := range methods {
		allowed = append(allowed, method)
		if method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet // net/http leaves the body out
		}
		route, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			a.front.Fail(w, r, front.ErrMethod)
			return
		}
		answer, err := a.serve(w, r, route)
		if err != nil {
			a.front.Fail(w, r, err)
			return
		}
		if answer.stream == nil {
			write(w, answer)
			return
		}
		if err := pour(r.Context(), w, answer); err != nil {
			_ = a.front.Judge(r, err)
			panic(http.ErrAbortHandler) // so that the reader sees that there is no end
		}
	})
}

// call is a request that may be handled: its operator is known, and its body and query have the form of the route.
type call struct {
	ctx   context.Context
	op    admin.Operator
	path  func(name string) string // segment of the path
	query query
	body  []byte
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, rt route) (answer, error) {
	c := call{ctx: r.Context(), path: r.PathValue}
	if rt.scope() != forAll {
		var err error
		slug := "" // of the platform
		if rt.scope() == forTenant {
			slug = r.PathValue("tenant")
		}
		if c.op, err = a.front.Operator(w, r, slug); err != nil {
			return answer{}, err
		}
	}
	var err error
	if c.query, err = parseQuery(r.URL.RawQuery, rt.query); err != nil {
		return answer{}, err
	}
	if c.body, err = readBody(w, r, rt.body); err != nil {
		return answer{}, err
	}
	return rt.handle(a, c)
}

// readBody returns the request's body, which must be of a media type that the route takes.
func readBody(w http.ResponseWriter, r *http.Request, want body) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, want.limit()))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large) && len(want.media) == 0:
		return nil, fault.New(fault.InvalidRequest, "body.unwanted", "This call takes no body.")
	case errors.As(err, &large):
		return nil, fault.New(fault.TooLarge, "body.large", "The body is larger than this call takes.")
	case err != nil:
		return nil, fault.Wrap(fault.InvalidRequest, "body.unread", "The body did not arrive whole.", err)
	case len(want.media) > 0 && !slices.Contains(want.media, media(r.Header)):
		return nil, fault.New(fault.InvalidRequest, "body.media", "The Content-Type must be "+
			strings.Join(want.media, " or ")+".")
	}
	return data, nil
}
