package adminapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
)

// prober is a shim whose upstreams know every secret.
type prober struct{}

func (prober) Probe(context.Context, string, string, string, int) (int, error) { return 200, nil }

// vaultFile is a tenant with a tool that puts the secret crm on its calls.
const vaultFile = `apiVersion: bursar/v1
tenant: vaulted
tools:
  - name: crm
    resource: https://sts.example/shim/t/vaulted/crm
    actions: [read]
    upstream:
      url: https://api.example
      inject: [{in: header, name: X-Api-Key, secret: crm}]
      allow: [{action: read, methods: [GET], path: /v1/customers}]
      probe: {method: GET, path: /v1/customers}
`

const canary = "CANARY-4c1d-7f3a9c2e51d84b06"

func secretRequest(value string) operator.SecretRequest {
	return operator.SecretRequest{Host: "https://api.example", Fields: map[string]string{"value": value}}
}

// vaults makes every call about the secrets of a vault.
func (w *world) vaults(t *testing.T) {
	ctx := t.Context()
	ok[*operator.Applied](t)(w.Apply(ctx, "vaulted", []byte(vaultFile), operator.ApplyOptions{}))
	if all := ok[*operator.VaultSecrets](t)(w.VaultSecrets(ctx, "vaulted")); len(all.Items) != 0 ||
		all.DataKey != (operator.DataKey{}) {
		t.Errorf("before: %+v", all)
	}
	put := ok[*operator.SecretChange](t)(w.PutSecret(ctx, "vaulted", "crm", secretRequest(canary)))
	if put.Version != 1 || !put.Changed || put.Secret.State != operator.SecretStaged || len(put.Warnings) != 0 ||
		!slices.Equal(put.Secret.Tools, []string{"crm"}) || len(put.Secret.Unbound) != 0 {
		t.Errorf("put %+v", put)
	}
	tested := ok[*operator.SecretTested](t)(w.TestSecret(ctx, "vaulted", "crm", operator.SecretTrial{}))
	if !tested.Passed || tested.Status != 200 || tested.Tool != "crm" || tested.Version.Version != 1 {
		t.Errorf("tested %+v", tested)
	}
	active := ok[*operator.SecretChange](t)(w.ActivateSecret(ctx, "vaulted", "crm", operator.SecretChoice{Expect: -1}))
	if active.Version != 1 || active.Secret.Active != 1 || active.Secret.Versions[0].Fingerprint == "" ||
		!slices.Equal(active.Secret.Versions[0].Inject, []string{"bearer", "header"}) {
		t.Errorf("activated %+v", active)
	}
	next := secretRequest("short")
	next.Short, next.Activate, next.Expect = true, true, 1
	next.CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	second := ok[*operator.SecretChange](t)(w.PutSecret(ctx, "vaulted", "crm", next))
	if second.Secret.Active != 2 || len(second.Warnings) == 0 || !second.Secret.Versions[0].Short ||
		!slices.Equal(second.Secret.Unbound, []string{"crm"}) || second.Secret.Versions[0].CA == "" {
		t.Errorf("put at once %+v", second)
	}
	if back := ok[*operator.SecretChange](t)(w.RollbackSecret(ctx, "vaulted", "crm")); back.Secret.Active != 1 {
		t.Errorf("rolled back %+v", back)
	}
	if off := ok[*operator.SecretChange](t)(w.DisableSecret(ctx, "vaulted", "crm")); off.Secret.Disabled.IsZero() ||
		off.Secret.State != operator.SecretDisabled || off.Version != 0 {
		t.Errorf("disabled %+v", off)
	}
	if on := ok[*operator.SecretChange](t)(w.EnableSecret(ctx, "vaulted", "crm")); !on.Secret.Disabled.IsZero() {
		t.Errorf("enabled %+v", on)
	}
	key := ok[*operator.DataKey](t)(w.RotateVaultKey(ctx, "vaulted"))
	if *key != (operator.DataKey{Version: 2, Secrets: 1}) {
		t.Errorf("rotated %+v", key)
	}
	_, err := w.DestroySecret(ctx, "vaulted", "crm", operator.SecretEnd{})
	if p := wantCode(t, err, 409, operator.CodeConflict); p.Reason != "secret.in_use" {
		t.Errorf("destroy what is in use: %+v", p)
	}
	gone := ok[*operator.SecretChange](t)(w.DestroySecret(ctx, "vaulted", "crm", operator.SecretEnd{Force: true}))
	if gone.Secret.State != operator.SecretDestroyed {
		t.Errorf("destroyed %+v", gone)
	}
	one := ok[*operator.VaultSecret](t)(w.VaultSecret(ctx, "vaulted", "crm"))
	if len(one.Versions) != 2 || one.DataKey != 2 {
		t.Errorf("%+v", one)
	}
	if n := ok[*operator.Shredded](t)(w.ShredSecrets(ctx, "vaulted", "vaulted")); n.Secrets != 1 {
		t.Errorf("shredded %+v", n)
	}
}

// TestF3NoAnswerHoldsAValue reads everything that the API has, and makes it refuse the value, too.
func TestF3NoAnswerHoldsAValue(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ok[*operator.Applied](t)(w.Apply(ctx, "vaulted", []byte(vaultFile), operator.ApplyOptions{}))
	r := secretRequest(canary)
	r.Activate = true
	ok[*operator.SecretChange](t)(w.PutSecret(ctx, "vaulted", "crm", r))
	var seen strings.Builder
	read := func(method, path, body string) {
		req, err := http.NewRequestWithContext(ctx, method, w.url+"/admin/v1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.Token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(&seen, resp.Body)
		_ = resp.Header.Write(&seen)
	}
	for path, methods := range w.watch.doc["paths"].(object) {
		if _, get := methods.(object)["get"]; get {
			names := strings.NewReplacer("{tenant}", "vaulted", "{secret}", "crm", "{id}", "crm", "{client}", "crm")
			read(http.MethodGet, names.Replace(path), "")
		}
	}
	quoted, err := json.Marshal(canary)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"host":"https://api.example","fields":{"value":"` + canary + `\n"}}`,
		`{"host":"https://api.example","fields":{"` + canary + `":"` + canary + `"}}`,
		`{"host":"https://api.example","fields":` + string(quoted) + `}`,
		`{"host":` + string(quoted) + `,"fields":{"value":` + string(quoted) + `}}`,
		`{"host":"https://api.example","fields":{"value":` + string(quoted) + `},"` + canary + `":1}`,
		`{"host":"https://api.example","fields":{"value":` + string(quoted) + `},"inject":["` + canary + `"]}`,
		`{"host":"https://api.example","fields":{"value":` + string(quoted),
	} {
		read(http.MethodPost, "/t/vaulted/secrets/crm/versions", body)
	}
	all := ok[*operator.VaultSecrets](t)(w.VaultSecrets(ctx, "vaulted"))
	if strings.Contains(seen.String(), "CANARY") {
		t.Errorf("an answer holds the value: %s", seen.String())
	}
	if len(all.Items) != 1 || len(all.Items[0].Versions) != 1 ||
		!strings.Contains(seen.String(), all.Items[0].Versions[0].Fingerprint) {
		t.Errorf("the fingerprint is nowhere either: the test looks at nothing: %+v", all)
	}
}

func TestASecretIsReadStrictly(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "vaulted", []byte(vaultFile), operator.ApplyOptions{}))
	const put, activate = "/admin/v1/t/vaulted/secrets/crm/versions", "/admin/v1/t/vaulted/secrets/crm/activate"
	const api, value = `"host":"https://api.example"`, `"fields":{"value":"` + canary + `"}`
	for name, row := range map[string]struct {
		path, body, problem string
	}{
		"no fields":            {put, `{` + api + `}`, "fields: is required"},
		"fields of numbers":    {put, `{` + api + `,"fields":{"value":1}}`, "fields: must be an object of strings"},
		"an origin with paths": {put, `{"host":"https://api.example/v1",` + value + `}`, "host: must be an origin"},
		"kinds that are text":  {put, `{` + api + `,"inject":"header",` + value + `}`, "inject: must be a list of strings"},
		"an unknown kind":      {put, `{` + api + `,"inject":["trailer"],` + value + `}`, "inject: must be some of"},
		"a short value": {put, `{` + api + `,"fields":{"value":"short"}}`,
			"fields.value: has less than 16 bytes"},
		"expected without activate": {put, `{` + api + `,` + value + `,"expect":1}`, "expect: needs activate"},
		"expected nonsense":         {activate, `{"expect":-2}`, "expect: must be the number of a version"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, p := w.send(t, http.MethodPost, row.path, row.body, "Content-Type", "application/json")
			if resp.StatusCode != 422 || !slices.ContainsFunc(p.Problems, func(s string) bool {
				return strings.HasPrefix(s, row.problem)
			}) {
				t.Errorf("answered %d %+v", resp.StatusCode, p)
			}
		})
	}
	large := operator.SecretRequest{Host: "https://api.example", Inject: []string{"json"},
		Fields: map[string]string{"value": strings.Repeat(`"`, 32<<10)}}
	ok[*operator.SecretChange](t)(w.PutSecret(t.Context(), "vaulted", "large", large))
	large.Fields["value"] += `"`
	_, err := w.PutSecret(t.Context(), "vaulted", "large", large)
	wantCode(t, err, 422, operator.CodeInvalid)
	large.Fields["value"] = strings.Repeat(`"`, 128<<10)
	_, err = w.PutSecret(t.Context(), "vaulted", "large", large)
	wantCode(t, err, 413, operator.CodeTooLarge)
}

func TestCrossTenantCallsAboutSecretsAreRefused(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}))
	ok[*operator.Applied](t)(w.Apply(t.Context(), "vaulted", []byte(vaultFile), operator.ApplyOptions{}))
	ok[*operator.SecretChange](t)(w.PutSecret(t.Context(), "vaulted", "crm", secretRequest(canary)))
	made := ok[*operator.NewOperator](t)(w.CreateOperator(t.Context(), "acme", operator.OperatorRequest{
		Role: operator.RoleAdmin, TTL: "1h"}))
	theirs := w.as(made.Token)
	_, err := theirs.VaultSecrets(t.Context(), "vaulted")
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = theirs.VaultSecret(t.Context(), "acme", "crm")
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = theirs.ActivateSecret(t.Context(), "vaulted", "crm", operator.SecretChoice{})
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = theirs.ActivateSecret(t.Context(), "acme", "crm", operator.SecretChoice{})
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = theirs.ShredSecrets(t.Context(), "vaulted", "vaulted")
	wantCode(t, err, 404, operator.CodeNotFound)
}
