package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// identity makes a key of age, and the file of its private half.
func (w *world) identity(t *testing.T, name string) (recipient, path string) {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(w.Dir, name)
	if err := os.WriteFile(path, []byte(k.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return k.Recipient().String(), path
}

// A backup that is encrypted shows nothing of the tenant, and is put back with the identity of one of its recipients.
// Whatever is changed in it, or without such an identity, nothing is changed in the store.
func TestAnEncryptedBackupIsRestored(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		api := w.as(t, "payments-api")
		kept := w.acme().MustExchange(t, form)
		first, _ := w.identity(t, "first.txt")
		second, mine := w.identity(t, "mine.txt")
		_, theirs := w.identity(t, "theirs.txt")
		file, list := filepath.Join(w.Dir, "acme.backup.age"), filepath.Join(w.Dir, "recipients.txt")
		if err := os.WriteFile(list, []byte("# who may restore\n"+second+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out := w.run(t, "backup", "acme", "-o", file, "--recipient", first, "--recipients-file", list)
		if !strings.Contains(out, "encrypted to 2 recipients") {
			t.Errorf("it prints:\n%s", out)
		}
		text, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(text, []byte("age-encryption.org/v1")) {
			t.Fatal("it is not encrypted", err)
		}
		for _, plain := range []string{"bursar backup", "acme", "payments", harness.ID(kept), w.Server.Issuer("acme")} {
			if bytes.Contains(text, []byte(plain)) {
				t.Errorf("it shows %q", plain)
			}
		}
		if left, err := filepath.Glob(filepath.Join(w.Dir, ".bursar-backup-*")); err != nil || len(left) > 0 {
			t.Errorf("it leaves %v, %v", left, err)
		}
		w.Stop()
		config := filepath.Join(w.Dir, "bursar.yaml")
		refused := func(what, want string, data []byte, more ...string) {
			t.Helper()
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := w.Bursar(t, append([]string{"restore", file, "--config", config, "--replace"}, more...)...)
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("%s: %v\n%s", what, err, out)
			}
		}
		changed := bytes.Clone(text)
		changed[len(changed)/2] ^= 1
		refused("without an identity", "give the file of an identity: --identity", text)
		refused("with another one", "encrypted to other recipients", text, "--identity", theirs)
		refused("with what is none", "holds no identities of age", text, "--identity", list)
		refused("cut", "cut or changed", text[:len(text)-1], "--identity", mine)
		refused("changed", "cut or changed", changed, "--identity", mine)
		refused("continued", "cut or changed", append(bytes.Clone(text), 'x'), "--identity", mine)
		refused("in plain", "it is not encrypted", []byte("bursar backup v1\n"), "--identity", mine)
		w.Restart(t)
		if again := w.acme().MustExchange(t, form); again == kept {
			t.Error("the token is the same")
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		w.destroy(t)
		w.offline(t, "restore", file, "--identity", mine)
		w.Restart(t)
		if !api.Active(t, kept) {
			t.Error("a token is not what it was")
		}
	})
}
