package harness

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// Claims returns the payload of a token, unverified.
func Claims(t testing.TB, compact string) map[string]any {
	t.Helper()
	return part(t, compact, 1)
}

// Header returns the header of a token, unverified.
func Header(t testing.TB, compact string) map[string]any {
	t.Helper()
	return part(t, compact, 0)
}

// ID returns the jti of a token. It may be called from any goroutine; "" if there is none.
func ID(compact string) string {
	var claims struct{ JTI string }
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.JTI
}

func part(t testing.TB, compact string, n int) (members map[string]any) {
	t.Helper()
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		t.Fatal("not a compact JWS")
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err == nil {
		err = json.Unmarshal(data, &members)
	}
	if err != nil {
		t.Fatal(err)
	}
	return members
}
