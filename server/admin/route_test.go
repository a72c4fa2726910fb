package admin_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/fault"
)

const routed = `apiVersion: bursar/v1
tenant: acme
clients:
  - {id: bot, kind: agent, auth: {method: client_secret_basic}}
  - {id: helper, kind: agent, auth: {method: client_secret_basic}}
tools:
  - name: plain
    resource: https://pay.example
    actions: [notes.read]
  - name: legacy
    resource: ` + shimURL + `/t/acme/legacy
    actions: [notes.read, notes.create, notes.delete]
    upstream:
      url: https://legacy.example
      inject: [{in: header, name: X-Key, secret: crm}, {in: cookie, name: sid, secret: absent}]
      allow:
        - {action: notes.delete, methods: [DELETE], path: "/v1/{all...}"}
        - {action: notes.read, methods: [GET], path: "/v1/notes/{id}", query: [page]}
        - {action: notes.create, methods: [POST], path: /v1/notes, max_body: 1KiB, content_types: [application/json]}
policies:
  - {id: other, clients: [bot], tool: plain, actions: [notes.read]}
  - {id: all, clients: [bot], tool: legacy, actions: [notes.read, notes.create], default_actions: [notes.read]}
  - {id: passed-on, clients: [bot], delegates: [helper], tool: legacy, actions: [notes.read]}
`

func TestACallIsRoutedAsTheShimWouldRouteIt(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", routed)
	op := w.signIn(w.process, "acme", w.token("acme", admin.Auditor))
	d := secretDraft("crm", "SK-route")
	d.Activate = true
	if _, err := w.svc.PutSecret(t.Context(), w.root("acme"), d); err != nil {
		t.Fatal(err)
	}
	before := w.position("acme")
	for _, row := range []struct {
		call          admin.Call
		reason, scope string
		rule          int
		access        []string
	}{
		{admin.Call{Method: "GET", Path: "/v1/notes/7", Query: "page=2"}, "", "legacy:notes.read", 1, []string{"all",
			"passed-on"}},
		{admin.Call{Method: "POST", Path: "/v1/notes", BodyType: "application/json"}, "", "legacy:notes.create", 2,
			[]string{"all"}},
		{admin.Call{Method: "DELETE", Path: "/v1/notes/7"}, "", "legacy:notes.delete", 0, nil},
		{admin.Call{Method: "POST", Path: "/v1/notes", BodyType: "text/plain"}, "body.type", "legacy:notes.create", 2,
			[]string{"all"}},
		{admin.Call{Method: "GET", Path: "/v1/notes/7", BodyType: "text/plain"}, "body.not_allowed", "legacy:notes.read", 1,
			[]string{"all", "passed-on"}},
		{admin.Call{Method: "GET", Path: "/v1/notes/7", Query: "x=2"}, "query.not_allowed", "", 0, nil},
		{admin.Call{Method: "GET", Path: "/v1/notes/../x"}, "path.ambiguous", "", 0, nil},
		{admin.Call{Method: "GET", Path: "/v2"}, "path.not_allowed", "", 0, nil},
		{admin.Call{Method: "PUT", Path: "/v1/notes/7"}, "method.not_allowed", "", 0, nil},
		{admin.Call{}, "method.not_allowed", "", 0, nil},
	} {
		r, err := w.svc.Route(t.Context(), op, "legacy", row.call)
		if err != nil {
			t.Fatal(err)
		}
		var reason string
		if r.Refusal != nil {
			reason = r.Refusal.Reason
		}
		var access []string
		for _, x := range r.Access {
			access = append(access, x.Rule.ID)
		}
		if reason != row.reason || r.Scope != row.scope || !slices.Equal(access, row.access) ||
			(r.Match != nil) != (row.scope != "") || r.Match != nil && r.Match.Index != row.rule {
			t.Errorf("%+v: %q %+v with access by %q, want %+v", row.call, reason, r, access, row)
		}
		if len(r.Secrets) != 2 || r.Secrets[0].Missing != "" || r.Secrets[1].Missing != "secret.unknown" {
			t.Errorf("its secrets are %+v", r.Secrets)
		}
	}
	_, err := w.svc.Route(t.Context(), op, "nothing", admin.Call{Method: "GET", Path: "/"})
	wantKind(t, err, fault.NotFound)
	_, err = w.svc.Route(t.Context(), op, "plain", admin.Call{Method: "GET", Path: "/"})
	wantKind(t, err, fault.Invalid)
	if after := w.position("acme"); after.Index != before.Index {
		t.Error("a call that nobody made was recorded")
	}
}

func TestWhatIsDisabledCannotBeCalled(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", routed)
	root := w.root("acme")
	call := admin.Call{Method: "GET", Path: "/v1/notes/7"}
	if _, err := w.svc.Revoke(t.Context(), root, "client", "helper", ""); err != nil {
		t.Fatal(err)
	}
	r, err := w.svc.Route(t.Context(), root, "legacy", call)
	if err != nil || r.Refusal != nil || len(r.Access[0].Disabled) != 0 || !slices.Equal(r.Access[1].Disabled,
		[]string{"helper"}) {
		t.Errorf("with a disabled client: %+v, %v", r, err)
	}
	for kind, value := range map[string]string{"tool": "legacy", "tenant": ""} {
		if _, err := w.svc.Revoke(t.Context(), root, kind, value, ""); err != nil {
			t.Fatal(err)
		}
		if r, err = w.svc.Route(t.Context(), root, "legacy", call); err != nil || r.Refusal == nil ||
			r.Refusal.Reason != "revoked."+kind {
			t.Errorf("with a disabled %s: %+v, %v", kind, r, err)
		}
		if _, err := w.svc.Enable(t.Context(), root, kind, value); err != nil {
			t.Fatal(err)
		}
	}
	w.apply("acme", strings.Replace(routed, "    actions: [notes.read, notes.create",
		"    disabled: true\n    actions: [notes.read, notes.create", 1))
	if r, err = w.svc.Route(t.Context(), root, "legacy", call); err != nil || r.Refusal == nil ||
		r.Refusal.Reason != "target.disabled" {
		t.Errorf("of a disabled tool: %+v, %v", r, err)
	}
}
