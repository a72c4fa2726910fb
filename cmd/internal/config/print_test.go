package config_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/config"
)

// Whatever prints secrets, what is inside does not come out.
func TestSecretsDoNotPrint(t *testing.T) {
	const canary = "canary-of-the-test"
	s := config.Secrets{AdminToken: canary, StoreURL: "redis://:" + canary + "@127.0.0.1",
		TraceHeaders: map[string]string{"authorization": canary},
		Sinks:        map[string]config.Reach{"siem": {Headers: map[string]string{"authorization": canary}}}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "p", &s, "inside", struct{ S any }{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "p", &s)
	reach := s.Sinks["siem"]
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "reach", reach, "p", &reach)
	printed := log.String() + fmt.Sprintf("%v %+v %#v", reach, &reach, struct{ S any }{reach})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		printed += fmt.Sprintf(verb+verb+verb, s, &s, struct{ S any }{s})
	}
	if strings.Contains(printed, canary) || strings.Contains(printed, hex.EncodeToString([]byte(canary))) {
		t.Error(printed)
	}
}
