package envelope_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/bursar-sts/bursar/cmd/internal/envelope"
)

// key makes a pair, and the file of its private half.
func key(t *testing.T) (recipient, file string) {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k.Recipient().String(), write(t, k.String()+"\n", 0o600)
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func seal(t *testing.T, text []byte, r envelope.Recipients) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := r.Seal(&b)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(data []byte, path string) ([]byte, error) {
	i, err := envelope.From(path)
	if err != nil {
		return nil, err
	}
	r, err := i.Open(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestEachRecipientOpensTheFile(t *testing.T) {
	first, mine := key(t)
	second, yours := key(t)
	_, theirs := key(t)
	r, err := envelope.To([]string{first}, []string{write(t, "# the other two\n"+second+"\n\n", 0o644)})
	if err != nil || r.Count() != 2 {
		t.Fatal(r.Count(), err)
	}
	text := bytes.Repeat([]byte("sk-live-0123456789abcdef\n"), 10_000) // several parts
	sealed := seal(t, text, r)
	if bytes.Contains(sealed, []byte("sk-live")) {
		t.Error("it is not encrypted")
	}
	for _, path := range []string{mine, yours} {
		if got, err := open(sealed, path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if _, err := open(sealed, theirs); !errors.Is(err, envelope.ErrOthers) || !strings.Contains(err.Error(), theirs) {
		t.Errorf("with another identity: %v", err)
	}
	if _, err := open(sealed, ""); !errors.Is(err, envelope.ErrEncrypted) {
		t.Errorf("without one: %v", err)
	}
}

// The keys of age that resist quantum computers are taken as well.
func TestAHybridRecipientOpensTheFile(t *testing.T) {
	k, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	r, err := envelope.To([]string{k.Recipient().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open(seal(t, []byte("text"), r), write(t, k.String(), 0o600)); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAFileThatIsNotEncrypted(t *testing.T) {
	_, mine := key(t)
	none, err := envelope.To(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("bursar backup v1\n")
	if got := seal(t, text, none); !bytes.Equal(got, text) {
		t.Errorf("it is %q", got)
	}
	if got, err := open(text, ""); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	for _, data := range [][]byte{text, nil, []byte("age")} {
		if _, err := open(data, mine); !errors.Is(err, envelope.ErrPlain) {
			t.Errorf("%q with an identity: %v", data, err)
		}
	}
}

// Whatever is cut off an encrypted file, added to it or changed in it, it is not read to its end.
func TestAFileThatWasChangedIsNotRead(t *testing.T) {
	recipient, mine := key(t)
	r, err := envelope.To([]string{recipient}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, bytes.Repeat([]byte("x"), 200_000), r)
	for n := 0; n < len(sealed); n += 997 {
		if _, err := open(sealed[:n], mine); err == nil || n > 200 && !errors.Is(err, envelope.ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		changed := bytes.Clone(sealed)
		changed[n] ^= 1
		if _, err := open(changed, mine); err == nil {
			t.Fatalf("changed at %d it is read", n)
		}
	}
	const part = 64<<10 + 16 // of age, with its tag
	header := len(sealed) - 200_000 - 4*16
	for end := header; end < len(sealed); end += part { // where a part ends
		if _, err := open(sealed[:end], mine); err == nil {
			t.Errorf("cut behind a part at %d it is read", end)
		}
	}
	if _, err := open(append(bytes.Clone(sealed), 'x'), mine); err == nil {
		t.Error("with more behind it it is read")
	}
}

// A private key in the place of a public one, or a broken one, is not printed.
func TestMistakenKeysAreNotPrinted(t *testing.T) {
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	secret := k.String()
	quiet := func(err error) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), secret[20:40]) {
			t.Errorf("the error is %v", err)
		}
	}
	for _, text := range []string{secret, "", "age1", "ssh-ed25519 AAAA", "x\n" + secret} {
		_, err := envelope.To([]string{text}, nil)
		quiet(err)
		_, err = envelope.To(nil, []string{write(t, text, 0o644)})
		quiet(err)
	}
	for _, text := range []string{"", k.Recipient().String(), secret[:len(secret)-1], secret + "x", "# " + secret} {
		_, err := envelope.From(write(t, text, 0o600))
		quiet(err)
	}
	if _, err := envelope.From(write(t, secret, 0o640)); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others can read it: %v", err)
	}
	if _, err := envelope.From(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is none: %v", err)
	}
	if _, err := envelope.To(nil, []string{filepath.Join(t.TempDir(), "absent")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is none: %v", err)
	}
}
