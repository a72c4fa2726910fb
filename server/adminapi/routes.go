package adminapi

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
)

// route is one call of the API. What is served and what is documented come from the same values.
type route struct {
	method, path string // the path below Prefix
	name         string // operationId
	query        []param
	body         body
	answer       reflect.Type // of a success; nil is none
	status       []int        // of a success
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
		codes = append(codes, operator.CodeUnauthenticated, operator.CodeForbidden, operator.CodeNotFound)
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

// maxBody bounds JSON bodies, in bytes.
const maxBody = 64 << 10

func (b body) limit() int64 {
	switch {
	case len(b.media) == 0:
		return 0
	case b.typ == nil:
		return operator.MaxFile
	}
	return maxBody
}

// maxNumber is what every reader of JSON and of queries can hold.
const maxNumber = 1 << 53

// routes returns every call.
func routes() []route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	var none body
	ok, made, gone := []int{http.StatusOK}, []int{http.StatusCreated}, []int{http.StatusNoContent}
	file := body{media: []string{yamlMedia, jsonMedia}}
	target, token := jsonBody[operator.Target](), jsonBody[operator.OperatorRequest]()
	rotate := jsonBody[operator.RotateRequest]()
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
		{get, "/openapi.json", "openapi", nil, none, typ[map[string]any](), ok, (*API).openapi},
		{get, "/version", "version", nil, none, typ[operator.Version](), ok, (*API).version},
		{get, "/tenants", "listTenants", nil, none, typ[items[operator.TenantEntry]](), ok, (*API).tenants},
		{get, "/platform/events", "platformEvents", log, none, typ[operator.Events](), ok, (*API).events},
		{get, "/t/{tenant}", "tenant", nil, none, typ[operator.Tenant](), ok, (*API).tenant},
		{put, "/t/{tenant}", "apply", apply, file, typ[operator.Applied](), append(ok, made...), (*API).apply},
		{get, "/t/{tenant}/events", "events", log, none, typ[operator.Events](), ok, (*API).events},
		{get, "/t/{tenant}/keys", "listKeys", nil, none, typ[items[operator.Key]](), ok, (*API).keys},
		{post, "/t/{tenant}/keys/rotate", "rotateKeys", nil, rotate, typ[items[operator.Key]](), ok, (*API).rotateKeys},
		{post, "/t/{tenant}/keys/{kid}/revoke", "revokeKey", nil, none, typ[items[operator.Key]](), ok,
			(*API).revokeKey},
		{get, "/t/{tenant}/cutoffs", "listCutoffs", nil, none, typ[items[operator.Cutoff]](), ok, (*API).cutoffs},
		{post, "/t/{tenant}/revoke", "revoke", nil, target, typ[operator.Revoked](), ok, (*API).revoke},
		{post, "/t/{tenant}/enable", "enable", nil, target, typ[operator.Revoked](), ok, (*API).enable},
	}
	const secrets = "/t/{tenant}/clients/{client}/secrets"
	all = append(all,
		route{get, secrets, "listSecrets", nil, none, typ[items[operator.Secret]](), ok, (*API).secrets},
		route{post, secrets, "createSecret", nil, none, typ[operator.NewSecret](), made, (*API).createSecret},
		route{del, secrets + "/{id}", "deleteSecret", nil, none, nil, gone, (*API).deleteSecret})
	operators := map[string]string{"Operator": "/t/{tenant}/operators", "PlatformOperator": "/platform/operators"}
	for name, path := range operators {
		all = append(all,
			route{get, path, "list" + name + "s", nil, none, typ[items[operator.Operator]](), ok, (*API).operators},
			route{post, path, "create" + name, nil, token, typ[operator.NewOperator](), made, (*API).createOperator},
			route{del, path + "/{id}", "delete" + name, nil, none, nil, gone, (*API).deleteOperator})
	}
	for _, kind := range operator.Kinds() {
		path := "/t/{tenant}/" + kind.Plural()
		all = append(all,
			route{get, path, "list-" + kind.Plural(), nil, none, typ[items[map[string]any]](), ok,
				func(a *API, c call) (answer, error) { return a.objects(c, kind) }},
			route{get, path + "/{id}", "get-" + string(kind), nil, none, typ[map[string]any](), ok,
				func(a *API, c call) (answer, error) { return a.object(c, kind) }})
	}
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.path+" "+a.method, b.path+" "+b.method) })
	return all
}

func typ[T any]() reflect.Type { return reflect.TypeFor[T]() }

func jsonBody[T any]() body { return body{media: []string{jsonMedia}, typ: typ[T]()} }
