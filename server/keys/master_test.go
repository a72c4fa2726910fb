package keys_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/server/keys"
)

func newMaster(t testing.TB) keys.Master {
	t.Helper()
	m, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMasterKeyOpensWhatItSealed(t *testing.T) {
	file := keys.NewMasterFile()
	m, err := keys.FileMaster(file)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := m.Seal([]byte("plain"), []byte("aad"))
	if err != nil || bytes.Contains(sealed, []byte("plain")) {
		t.Fatalf("got %q, %v", sealed, err)
	}
	again, err := keys.FileMaster(bytes.TrimSpace(file)) // as an environment variable has it
	if err != nil || again.ID() != m.ID() {
		t.Fatalf("got %v, %v", again, err)
	}
	if plain, err := again.Open(sealed, []byte("aad")); err != nil || string(plain) != "plain" {
		t.Errorf("got %q, %v", plain, err)
	}
	if _, err := m.Open(sealed, []byte("AAD")); err == nil {
		t.Error("opened under another aad")
	}
	if _, err := newMaster(t).Open(sealed, []byte("aad")); err == nil {
		t.Error("opened with another key")
	}
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		if _, err := m.Open(broken, []byte("aad")); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
}

func TestFileMasterRefuses(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32))
	short := base64.StdEncoding.EncodeToString(make([]byte, 31))
	if _, err := keys.FileMaster([]byte("bursar-master-key:v1:id-1:" + key + "\n")); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"an empty file":           "",
		"a bare key":              key,
		"another version":         "bursar-master-key:v2:id:" + key,
		"a space in front":        " bursar-master-key:v1:id:" + key,
		"no id":                   "bursar-master-key:v1::" + key,
		"no key":                  "bursar-master-key:v1:id",
		"an empty key":            "bursar-master-key:v1:id:",
		"an id with other bytes":  "bursar-master-key:v1:ID:" + key,
		"a long id":               "bursar-master-key:v1:" + strings.Repeat("a", 65) + ":" + key,
		"a short key":             "bursar-master-key:v1:id:" + short,
		"a long key":              "bursar-master-key:v1:id:" + base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"no padding":              "bursar-master-key:v1:id:" + strings.TrimRight(key, "="),
		"base64url":               "bursar-master-key:v1:id:" + strings.NewReplacer("+", "-", "/", "_").Replace(key),
		"set unused bits":         "bursar-master-key:v1:id:" + key[:42] + "9=",
		"a second line":           "bursar-master-key:v1:id:" + key + "\nbursar-master-key:v1:id:" + key,
		"a key over two lines":    "bursar-master-key:v1:id:" + key[:20] + "\n" + key[20:],
		"something after the key": "bursar-master-key:v1:id:" + key + ":more",
	} {
		_, err := keys.FileMaster([]byte(file))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), key[:8]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func FuzzFileMaster(f *testing.F) {
	f.Add(keys.NewMasterFile())
	f.Add([]byte("bursar-master-key:v1:id:AAAA"))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := keys.FileMaster(file)
		if err == nil && (m.ID() == "" || !bytes.Contains(file, []byte(":"+m.ID()+":"))) {
			t.Errorf("the id %q is not the file's", m.ID())
		}
	})
}

// No two places share their bytes, however their fields are cut.
func TestPlacesNeverCollide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', 0, ':', '\x01'}), 0, 3, -1)
		five := rapid.SliceOfN(field, 5, 5)
		a, b := five.Draw(t, "a"), five.Draw(t, "b")
		same := strings.Join(a, "\xff") == strings.Join(b, "\xff")
		if bytes.Equal(keys.AAD(a[0], a[1], a[2], a[3], a[4]), keys.AAD(b[0], b[1], b[2], b[3], b[4])) != same {
			t.Fatalf("%q and %q", a, b)
		}
	})
	for _, between := range []string{"", ":", "\x00", strings.Repeat("\x00", 8), strings.Repeat("\x00", 7) + "\x01"} {
		a, b := keys.AAD("x"+between+"y", "z", "", "", ""), keys.AAD("x", "y"+between+"z", "", "", "")
		if bytes.Equal(a, b) {
			t.Errorf("what is on either side of %q moved to another field", between)
		}
	}
}
