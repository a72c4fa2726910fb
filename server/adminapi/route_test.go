package adminapi_test

import (
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (w *world) routes(t *testing.T) {
	ctx := t.Context()
	r := ok[*operator.Route](t)(w.Route(ctx, "acme", "legacy", operator.Call{Method: "GET", Path: "/v1/notes/7?page=2"}))
	if !r.Allowed || r.Scope != "legacy:notes.read" || r.Rule.Index != 0 || r.Rule.MaxBody != 0 ||
		r.Resource != "https://sts.example/shim/t/acme/legacy" || r.Secrets[0].Missing != "secret.unknown" ||
		len(r.Access) != 1 || r.Access[0].Policy != "notes" || r.Access[0].Delegates[0] != "ci" || r.Access[0].From == nil ||
		r.Access[0].Condition != "depth == 0" || r.Access[0].Default || r.Access[0].OnBehalf {
		t.Errorf("routed as %+v, %+v", r, r.Access)
	}
	r = ok[*operator.Route](t)(w.Route(ctx, "acme", "legacy",
		operator.Call{Method: "POST", Path: "/v1/notes", BodyType: "application/json"}))
	if !r.Allowed || r.Rule.MaxBody != 1024 || !r.Rule.BodyJSON || r.Access == nil || len(r.Access) != 0 {
		t.Errorf("routed as %+v", r)
	}
	r = ok[*operator.Route](t)(w.Route(ctx, "acme", "legacy", operator.Call{Method: "GET",
		Path: "/v1/notes/7?page=1&page=2"}))
	if r.Allowed || r.Reason != "query.ambiguous" || r.Detail == "" || r.Rule != nil || r.Scope != "" {
		t.Errorf("routed as %+v", r)
	}
	_, err := w.Route(ctx, "acme", "nothing", operator.Call{Method: "GET", Path: "/"})
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = w.Route(ctx, "acme", "payments", operator.Call{Method: "GET", Path: "/"})
	if p := wantCode(t, err, 422, operator.CodeInvalid); len(p.Problems) != 1 {
		t.Errorf("problems %q", p.Problems)
	}
}
