package leak_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness/leak"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

const key = `sk/Live+7Jq"9 <Zr2&Xw_4-Tb8=Ny%6Kd3`

// TestEveryFormIsFound: the oracle and the upstream know each other's encodings by nothing but the standards.
func TestEveryFormIsFound(t *testing.T) {
	o := leak.Of(key)
	for _, form := range upstream.Forms() {
		for shift := range 4 {
			text := "Zz9 " + form.Encode(strings.Repeat("q", shift)+key+"tail") + "/Zz9"
			if len(o.Find([]byte(text))) == 0 {
				t.Errorf("%s, shifted by %d, is not found in %q", form.Name, shift, text)
			}
			masked := strings.Map(func(r rune) rune {
				if r > ' ' {
					return '*'
				}
				return r
			}, text)
			if found := o.Find([]byte(masked)); len(found) > 0 {
				t.Errorf("found in %q: %v", masked, found)
			}
		}
	}
}

func TestEncodingsInEncodingsAreFound(t *testing.T) {
	forms := map[string]func(string) string{}
	for _, name := range strings.Fields("raw base64-1 base64url-2 base64-folded hex percent-all json-all html-decimal") {
		form, ok := upstream.FormNamed(name)
		if !ok {
			t.Fatal(name)
		}
		forms[name] = form.Encode
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte("pressed " + key))
	_ = w.Close()
	for name, text := range map[string]string{
		"base64 in JSON":            forms["json-all"](forms["base64-1"](key)),
		"folded base64 in JSON":     strings.ReplaceAll(forms["base64-folded"](strings.Repeat("m", 70)+key), "\r\n", `\r\n`),
		"percent in HTML":           forms["html-decimal"](forms["percent-all"](key)),
		"hex in percent in JSON":    forms["json-all"](forms["percent-all"](forms["hex"](key))),
		"gzip":                      zipped.String(),
		"its first half":            key[:len(key)/2],
		"a part of it":              "abc" + key[9:21] + "abc",
		"a part of it in hex":       "abc" + hex.EncodeToString([]byte(key[9:21])),
		"backwards":                 reverse(key),
		"its second half backwards": reverse(key[len(key)/2:]),
		"base64 after base64":       "QUJD" + base64.StdEncoding.EncodeToString([]byte("a"+key)),
	} {
		if len(leak.Of(key).Find([]byte(text))) == 0 {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
}

func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	source, err := os.ReadFile("leak_test.go")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	o := leak.Of(rand.Text())
	if found := append(o.Find(source), o.Scan(program)...); len(found) > 0 {
		t.Error(found)
	}
	if found := leak.Of(key).Find([]byte(key[:11] + "|" + key[24:])); len(found) > 0 {
		t.Errorf("a part that is too short is a leak: %v", found)
	}
}

func TestFilesAreSearched(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"deep/dump.rdb": "\x00\x01" + key, "master.key": key, "log": "nothing"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	told := &teller{TB: t}
	if n := leak.Of(key).Folder(told, dir, "master.key"); n != 2 || told.failures != 1 {
		t.Errorf("%d files, %d failures", n, told.failures)
	}
}

// teller counts failures instead of failing.
type teller struct {
	testing.TB
	failures int
}

func (t *teller) Errorf(string, ...any) { t.failures++ }
func (t *teller) Helper()               {}

func TestTheMemoryOfAProcessIsSearched(t *testing.T) {
	for text, want := range map[string]bool{key: true, hex.EncodeToString([]byte(key)): true, "something else": false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", `read -r kept; echo "$kept"; read -r end`)
		cmd.Stdin = r
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.WriteString(text + "\n")
		if _, err := out.Read(make([]byte, 1)); err != nil { // it has it now
			t.Fatal(err)
		}
		size, found := leak.Of(key).Memory(t, cmd.Process.Pid)
		if got := len(found) > 0; got != want || size < 64<<10 {
			t.Errorf("%q: found is %v, in %d bytes", text, got, size)
		}
		_ = w.Close()
		_ = cmd.Wait()
	}
}

func reverse(s string) string {
	b := make([]byte, 0, len(s))
	for i := len(s) - 1; i >= 0; i-- {
		b = append(b, s[i])
	}
	return string(b)
}
