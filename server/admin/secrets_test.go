package admin_test

import (
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
)

func TestSecrets(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot")+`  - id: wl
    kind: resource_server
    tools: [payments]
    auth: {method: private_key_jwt, jwks_uri: "https://keys.example/jwks"}
`+tool)
	op := w.root("acme")
	var plains []string
	var made []clients.Secret
	for range 3 {
		plain, s, err := w.svc.CreateSecret(t.Context(), op, "bot")
		if err != nil || !clients.IsSecret(plain) {
			t.Fatal(plain, err)
		}
		plains, made = append(plains, plain), append(made, s)
	}
	list, err := w.svc.Secrets(t.Context(), op, "bot")
	if err != nil || len(list) != clients.MaxSecrets || list[0].ID != made[1].ID || list[1].ID != made[2].ID {
		t.Fatalf("%v, %v", list, err)
	}
	if err := w.svc.DeleteSecret(t.Context(), op, "bot", made[1].ID); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.svc.DeleteSecret(t.Context(), op, "bot", made[1].ID), fault.NotFound)
	wantKind(t, w.svc.DeleteSecret(t.Context(), op, "bot", made[0].ID), fault.NotFound)
	_, _, err = w.svc.CreateSecret(t.Context(), op, "wl")
	wantKind(t, err, fault.Conflict)
	_, _, err = w.svc.CreateSecret(t.Context(), op, "nobody")
	wantKind(t, err, fault.NotFound)
	rows, _, err := w.store.Rows(t.Context(), w.id("acme"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, e := range w.records(w.id("acme")) {
		names[e.Name]++
		for _, plain := range plains {
			if strings.Contains(e.raw, plain) || strings.Contains(e.raw, "client-secret") && e.Body.ClientID != "bot" {
				t.Errorf("recorded %s", e.raw)
			}
		}
	}
	if names["admin.client-secret.create"] != 3 || names["admin.client-secret.delete"] != 1 {
		t.Errorf("recorded %v", names)
	}
	for _, row := range rows {
		for _, plain := range plains {
			if strings.Contains(string(row.Value), plain) {
				t.Errorf("row %s/%s holds a secret", row.Kind, row.ID)
			}
		}
	}
}

func TestADeletedClientsSecretsGoWithIt(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot", "old"))
	if _, _, err := w.svc.CreateSecret(t.Context(), w.root("acme"), "old"); err != nil {
		t.Fatal(err)
	}
	_, err := w.prune("acme", file("acme", "bot"))
	if err != nil {
		t.Fatal(err)
	}
	if rows, _, _ := w.store.Rows(t.Context(), w.id("acme"), "client_secret"); len(rows) != 0 {
		t.Error("the secrets remain")
	}
}
