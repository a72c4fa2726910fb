package adminapi

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/vault"
)

// route is one call of the API. What is served and what is documented come from the same values.
type route struct {
	method, path string // the path below Prefix
	name         string // operationId
	query        []param
	body         body
	answer       reflect.Type // of a success; nil is none
	stream       bool         // a success is binary
	status       []int        // of a success; nil is 200
	handle       func(*API, call) (answer, error)
}

// scope is what a route is about, and so whose operators may call it.
type scope uint8

const (
	forPlatform scope = iota // platform operators; the zero scope is the narrowest
	forTenant                // operators of the tenant in the path, and of the platform
	forAll                   // nobody needs a token
)

func (r route) scope() scope {
	switch {
	case strings.HasPrefix(r.path, "/t/{tenant}"):
		return forTenant
	case r.path == "/openapi.json":
		return forAll
	}
	return forPlatform
}

// codes are those of the problems in which the call can end.
func (r route) codes() []string {
	codes := []string{operator.CodeInvalidRequest, operator.CodeMethodNotAllowed, operator.CodeInternal,
		operator.CodeUnavailable}
	if r.scope() != forAll {
		codes = append(codes, operator.CodeUnauthenticated, operator.CodeForbidden, operator.CodeNotFound,
			operator.CodeTooMany)
	}
	if r.method != http.MethodGet {
		codes = append(codes, operator.CodeConflict)
	}
	if len(r.body.media) > 0 {
		codes = append(codes, operator.CodeTooLarge, operator.CodeInvalid)
	}
	return codes
}

// body is what a route takes. The zero body takes none.
type body struct {
	media []string
	typ   reflect.Type // of JSON; nil is a tenant file
}

// maxBody bounds JSON bodies, in bytes; maxSecret that of a secret, which JSON can make twice as long as it is.
const (
	maxBody   = 64 << 10
	maxSecret = 2*vault.MaxSize + maxBody
)

func (b body) limit() int64 {
	switch {
	case len(b.media) == 0:
		return 0
	case b.typ == nil:
		return operator.MaxFile
	case b.typ == typ[operator.SecretRequest]():
		return maxSecret
	}
	return maxBody
}

// maxNumber is what every reader of JSON and of queries can hold.
const maxNumber = 1 << 53

// routes returns every call.
func routes() []route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	const secrets = "/t/{tenant}/clients/{client}/secrets"
	made, gone := []int{http.StatusCreated}, []int{http.StatusNoContent}
	file := body{media: []string{yamlMedia, jsonMedia}}
	apply := []param{
		{name: "dry_run", boolean: true, about: "Validate, answer what would change, and change nothing."},
		{name: "prune", boolean: true, about: "Delete what the tenant has and the file does not."},
		{name: "revision", min: 1, max: maxNumber, about: "The revision that the tenant must have."},
	}
	log := []param{
		{name: "after", min: -maxNumber, max: maxNumber, about: "How many events are known; below zero, from the end."},
		{name: "limit", min: 1, max: admin.MaxEvents, about: "The most events to answer; default 100."},
		{name: "wait", max: int64(admin.MaxWait.Seconds()), about: "Seconds to wait while there is no event."},
	}
	all := []route{
		{method: get, path: "/openapi.json", name: "openapi", answer: typ[map[string]any](), handle: (*API).openapi},
		{method: get, path: "/version", name: "version", answer: typ[operator.Version](), handle: (*API).version},
		{method: get, path: "/tenants", name: "listTenants", answer: typ[items[operator.TenantEntry]](),
			handle: (*API).tenants},
		{method: get, path: "/platform/events", name: "platformEvents", query: log, answer: typ[operator.Events](),
			handle: (*API).events},
		{method: get, path: "/t/{tenant}", name: "tenant", answer: typ[operator.Tenant](), handle: (*API).tenant},
		{method: put, path: "/t/{tenant}", name: "apply", query: apply, body: file, answer: typ[operator.Applied](),
			status: []int{http.StatusOK, http.StatusCreated}, handle: (*API).apply},
		{method: get, path: "/t/{tenant}/events", name: "events", query: log, answer: typ[operator.Events](),
			handle: (*API).events},
		{method: get, path: "/t/{tenant}/decisions/{id}", name: "decision", answer: typ[operator.Explanation](),
			handle: (*API).decision},
		{method: post, path: "/t/{tenant}/explain", name: "explain", body: jsonBody[operator.Hypothesis](),
			answer: typ[operator.Explanation](), handle: (*API).explain},
		{method: post, path: "/t/{tenant}/tools/{tool}/route", name: "route", body: jsonBody[operator.Call](),
			answer: typ[operator.Route](), handle: (*API).route},
		{method: get, path: "/t/{tenant}/keys", name: "listKeys", answer: typ[items[operator.Key]](),
			handle: (*API).keys},
		{method: post, path: "/t/{tenant}/keys/rotate", name: "rotateKeys", body: jsonBody[operator.RotateRequest](),
			answer: typ[items[operator.Key]](), handle: (*API).rotateKeys},
		{method: post, path: "/t/{tenant}/keys/{kid}/revoke", name: "revokeKey", answer: typ[items[operator.Key]](),
			handle: (*API).revokeKey},
		{method: get, path: "/t/{tenant}/cutoffs", name: "listCutoffs", answer: typ[items[operator.Cutoff]](),
			handle: (*API).cutoffs},
		{method: post, path: "/t/{tenant}/revoke", name: "revoke", body: jsonBody[operator.Revocation](),
			answer: typ[operator.Revoked](), handle: (*API).revoke},
		{method: post, path: "/t/{tenant}/enable", name: "enable", body: jsonBody[operator.Target](),
			answer: typ[operator.Revoked](), handle: (*API).enable},
		{method: get, path: secrets, name: "listSecrets", answer: typ[items[operator.Secret]](), handle: (*API).secrets},
		{method: post, path: secrets, name: "createSecret", answer: typ[operator.NewSecret](), status: made,
			handle: (*API).createSecret},
		{method: del, path: secrets + "/{id}", name: "deleteSecret", status: gone, handle: (*API).deleteSecret},
	}
	all = append(all, families()...)
	all = append(all, logRoutes()...)
	all = append(all, vaultRoutes()...)
	all = append(all, shimRoutes()...)
	for i := range all {
		if all[i].status == nil {
			all[i].status = []int{http.StatusOK}
		}
	}
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.path+" "+a.method, b.path+" "+b.method) })
	return all
}

// families returns the calls that several kinds of things have alike.
func families() []route {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	made, gone := []int{http.StatusCreated}, []int{http.StatusNoContent}
	var all []route
	operators := map[string]string{"Operator": "/t/{tenant}/operators", "PlatformOperator": "/platform/operators"}
	for name, path := range operators {
		all = append(all,
			route{method: get, path: path, name: "list" + name + "s", answer: typ[items[operator.Operator]](),
				handle: (*API).operators},
			route{method: post, path: path, name: "create" + name, body: jsonBody[operator.OperatorRequest](),
				answer: typ[operator.NewOperator](), status: made, handle: (*API).createOperator},
			route{method: del, path: path + "/{id}", name: "delete" + name, status: gone, handle: (*API).deleteOperator})
	}
	for _, kind := range operator.Kinds() {
		path := "/t/{tenant}/" + kind.Plural()
		all = append(all,
			route{method: get, path: path, name: "list-" + kind.Plural(), answer: typ[items[map[string]any]](),
				handle: func(a *API, c call) (answer, error) { return a.objects(c, kind) }},
			route{method: get, path: path + "/{id}", name: "get-" + string(kind), answer: typ[map[string]any](),
				handle: func(a *API, c call) (answer, error) { return a.object(c, kind) }})
	}
	return all
}

func typ[T any]() reflect.Type { return reflect.TypeFor[T]() }

func jsonBody[T any]() body { return body{media: []string{jsonMedia}, typ: typ[T]()} }
