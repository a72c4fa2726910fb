package operator_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
)

// Whatever prints a secret that is to be put, its value does not come out.
func TestSecretsToBePutDoNotPrint(t *testing.T) {
	const canary = "canary-of-the-test"
	s := operator.SecretRequest{Host: "https://api.example", Fields: map[string]string{"value": canary}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "p", &s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "p", &s, "inside", struct{ S any }{s})
	printed := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		printed += fmt.Sprintf(verb+verb+verb, s, &s, struct{ S any }{s})
	}
	if strings.Contains(printed, canary) || strings.Contains(printed, hex.EncodeToString([]byte(canary))) {
		t.Error(printed)
	}
}

// Whatever prints a client, what is inside does not come out.
func TestClientsDoNotPrint(t *testing.T) {
	const canary = "canary-of-the-test"
	s := operator.Client{BaseURL: "https://sts.example", Token: canary}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "p", &s, "inside", struct{ S any }{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "p", &s)
	printed := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		printed += fmt.Sprintf(verb+verb+verb, s, &s, struct{ S any }{s})
	}
	if strings.Contains(printed, canary) || strings.Contains(printed, hex.EncodeToString([]byte(canary))) {
		t.Error(printed)
	}
}
