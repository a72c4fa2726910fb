// Package envelope encrypts files for those who may read them, in the format of age (age-encryption.org/v1): to public
// keys, so that whoever makes a backup cannot read the one before it.
package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

// Recipients are the public keys that a file is encrypted to. The zero value is nobody.
type Recipients struct{ all []age.Recipient }

// To returns recipients, of their texts ("age1…") and of files with one on each line.
func To(texts, files []string) (Recipients, error) {
	var r Recipients
	add := func(from string, text string) error {
		found, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(found) == 0 { // whose text could be that of a private key
			return fmt.Errorf("%s is not the public key of an age recipient, which begins with age1", from)
		}
		r.all = append(r.all, found...)
		return nil
	}
	for i, text := range texts {
		if err := add(fmt.Sprintf("--recipient %d", i+1), text); err != nil {
			return Recipients{}, err
		}
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err == nil {
			err = add("what "+path+" holds", string(data))
		}
		if err != nil {
			return Recipients{}, err
		}
	}
	return r, nil
}

// Count returns how many there are.
func (r Recipients) Count() int { return len(r.all) }

// Seal returns what encrypts to w; it must be closed for the end to be written. Without recipients nothing is
// encrypted.
func (r Recipients) Seal(w io.Writer) (io.WriteCloser, error) {
	if len(r.all) == 0 {
		return plain{w}, nil
	}
	sealed, err := age.Encrypt(w, r.all...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// Identities are private keys that open files. The zero value opens those alone that are not encrypted.
type Identities struct {
	path string
	all  []age.Identity
}

// From reads a file of identities ("AGE-SECRET-KEY-1…"), one on each line, that only its owner can read. No path is
// no identities.
func From(path string) (Identities, error) {
	if path == "" {
		return Identities{}, nil
	}
	data, err := strict.ReadPrivate(path)
	if err != nil {
		return Identities{}, err
	}
	all, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil || len(all) == 0 { // whose text could show some of one
		return Identities{}, fmt.Errorf("%s holds no identities of age, which begin with AGE-SECRET-KEY-", path)
	}
	return Identities{path, all}, nil
}

// The errors of Open.
var (
	// ErrEncrypted: there are no identities.
	ErrEncrypted = errors.New("it is encrypted")
	// ErrPlain: it is not encrypted, and there are identities.
	ErrPlain = errors.New("it is not encrypted")
	// ErrOthers: it is encrypted to others.
	ErrOthers = errors.New("it is encrypted to other recipients")
	// ErrDamaged, of reading what Open returned: it does not go on as it was written.
	ErrDamaged = errors.New("it was cut or changed, or cannot be read")
)

// begins is how every encrypted file begins, and how one does that is armored.
var begins = []string{"age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----"}

// Open returns what a file holds. Of an encrypted one each part is checked before it is given out.
func (i Identities) Open(r io.Reader) (io.Reader, error) {
	from := bufio.NewReaderSize(r, 64<<10)
	encrypted := false
	for _, text := range begins {
		start, _ := from.Peek(len(text)) // a shorter file does not begin so
		encrypted = encrypted || string(start) == text
	}
	switch {
	case !encrypted && len(i.all) == 0:
		return from, nil
	case !encrypted:
		return nil, ErrPlain
	case len(i.all) == 0:
		return nil, ErrEncrypted
	}
	opened, err := age.Decrypt(from, i.all...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, fmt.Errorf("%w than %s has the identities of", ErrOthers, i.path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return checked{opened}, nil
}

// checked is a reader whose errors say what has become of the file.
type checked struct{ io.Reader }

func (c checked) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}
