package scrub_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/scrub"
)

func TestAFieldThatWasFoldedIsClean(t *testing.T) {
	const value = "sk-Live/7Jq+9Zr2&Xw=4Tb8~Ny6Kd3.Pq5"
	text := base64.StdEncoding.EncodeToString([]byte("X-Api-Key: " + value))
	for at := 1; at < len(text); at++ {
		h := http.Header{"X-Echo": {text[:at] + " " + text[at:]}}
		if hits := scrub.New(value).Header(h); hits == 0 {
			t.Errorf("folded at %d: %s", at, h.Get("X-Echo"))
		}
		if left := strings.ReplaceAll(h.Get("X-Echo"), "*", ""); len(left) > 24 || len(h.Get("X-Echo")) != len(text)+1 {
			t.Errorf("folded at %d: %s", at, h.Get("X-Echo"))
		}
	}
}

func TestANameThatHoldsEscapesIsDropped(t *testing.T) {
	const value = "SK-Live7Jq9Zr2Xw4Tb8"
	for _, format := range []string{"%%%02X", "&#%d", "&#x%x"} {
		name := "X-"
		for _, c := range []byte(value) {
			name += fmt.Sprintf(format, c)
		}
		h := http.Header{}
		h.Set(name, "1")
		if scrub.New(value).Header(h); len(h) > 0 {
			t.Errorf("came through: %v", h)
		}
	}
}

func TestAnEntityWithoutASemicolonIsRead(t *testing.T) {
	const value = "SK-Live/Jq-Zr-Xw-Tb+"
	text := ""
	for _, c := range []byte(value) {
		text += fmt.Sprintf("&#%d", c)
	}
	if masked, hits := scrub.New(value).String("a " + text + " b"); hits != 1 || strings.Contains(masked, "&") {
		t.Errorf("%d hits: %s", hits, masked)
	}
}
