package baotest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// transit is a transit engine: keys by name, each with its versions, the first of which is 1.
type transit map[string]*transitKey

type transitKey struct {
	versions   []cipher.AEAD
	minDecrypt int // versions before it open nothing
}

func (transit) kind() string { return "transit" }

func (t transit) exists(path string) bool {
	what, name, _ := strings.Cut(path, "/")
	return what != "encrypt" || t[name] != nil
}

func (t transit) serve(_ *Server, r *request) answer {
	what, name, _ := strings.Cut(r.path, "/")
	name, verb, _ := strings.Cut(name, "/")
	k, writes := t[name], r.operation == "create" || r.operation == "update"
	switch {
	case what == "encrypt" && r.operation == "create", what == "keys" && verb == "" && writes:
		if k == nil { // encrypting with a key that is none makes it
			k = &transitKey{minDecrypt: 1}
			k.rotate()
			t[name] = k
		}
		if what == "keys" {
			return ok(k.about(name))
		}
		return k.encrypt(r)
	case k == nil && r.operation == "read":
		return absent()
	case k == nil && what == "keys":
		return refuse(http.StatusBadRequest, "key not found")
	case k == nil:
		return refuse(http.StatusBadRequest, "encryption key not found")
	case what == "keys" && r.operation == "read":
		return ok(k.about(name))
	case what == "keys" && r.operation == "delete":
		delete(t, name)
		return nothing()
	case what == "keys" && verb == "rotate" && writes:
		k.rotate()
		return ok(k.about(name))
	case what == "keys" && verb == "config" && writes:
		if n, given := r.body["min_decryption_version"].(float64); given {
			k.minDecrypt = int(n)
		}
		return ok(k.about(name))
	case what == "encrypt" && writes:
		return k.encrypt(r)
	case what == "decrypt" && writes:
		return k.decrypt(r)
	case what == "rewrap" && writes:
		return k.rewrap(r)
	}
	return refuse(http.StatusMethodNotAllowed, "unsupported operation")
}

func (k *transitKey) rotate() {
	var key [32]byte
	_, _ = rand.Read(key[:])
	block, _ := aes.NewCipher(key[:])
	aead, _ := cipher.NewGCM(block)
	k.versions = append(k.versions, aead)
}

func (k *transitKey) about(name string) map[string]any {
	versions := map[string]any{}
	for i := range k.versions {
		if i+1 >= k.minDecrypt {
			versions[strconv.Itoa(i+1)] = 1750000000 + i
		}
	}
	return map[string]any{"name": name, "type": "aes256-gcm96", "derived": false, "deletion_allowed": false,
		"min_available_version": 0, "min_decryption_version": k.minDecrypt, "min_encryption_version": 0,
		"latest_version": len(k.versions), "exportable": false, "allow_plaintext_backup": false,
		"supports_encryption": true, "supports_decryption": true, "supports_signing": false, "supports_derivation": true,
		"auto_rotate_period": 0, "imported_key": false, "keys": versions}
}

func (k *transitKey) encrypt(r *request) answer {
	plain, err := base64.StdEncoding.DecodeString(r.text("plaintext"))
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	aad, err := base64.StdEncoding.DecodeString(r.text("associated_data"))
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	return ok(map[string]any{"ciphertext": k.seal(plain, aad), "key_version": len(k.versions)})
}

func (k *transitKey) seal(plain, aad []byte) string {
	aead, nonce := k.versions[len(k.versions)-1], make([]byte, 12)
	_, _ = rand.Read(nonce)
	return fmt.Sprintf("vault:v%d:%s", len(k.versions),
		base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, aad)))
}

func (k *transitKey) open(text string, aad []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, "vault:v")
	number, encoded, more := strings.Cut(rest, ":")
	if !ok {
		return nil, errors.New("invalid ciphertext: no prefix")
	}
	n, err := strconv.Atoi(number)
	sealed, encoding := base64.StdEncoding.DecodeString(encoded)
	switch {
	case !more:
		return nil, errors.New("invalid ciphertext: wrong number of fields")
	case err != nil || n < 1:
		return nil, errors.New("invalid ciphertext: version number could not be decoded")
	case n > len(k.versions):
		return nil, errors.New("invalid ciphertext: version is too new")
	case n < k.minDecrypt:
		return nil, errors.New("ciphertext or signature version is disallowed by policy (too old)")
	case encoding != nil || len(sealed) < 12:
		return nil, errors.New("invalid ciphertext: could not decode base64")
	}
	return k.versions[n-1].Open(nil, sealed[:12], sealed[12:], aad)
}

func (k *transitKey) decrypt(r *request) answer {
	aad, _ := base64.StdEncoding.DecodeString(r.text("associated_data"))
	plain, err := k.open(r.text("ciphertext"), aad)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	return ok(map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)})
}

func (k *transitKey) rewrap(r *request) answer {
	aad, _ := base64.StdEncoding.DecodeString(r.text("associated_data"))
	plain, err := k.open(r.text("ciphertext"), aad)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	return ok(map[string]any{"ciphertext": k.seal(plain, aad), "key_version": len(k.versions)})
}
