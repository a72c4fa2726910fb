package auditor_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
)

const start = 1_790_000_000

// key returns a key that has a name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func thumbprint(k ed25519.PrivateKey) string {
	x := base64.RawURLEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// world is a log of one tenant and whoever writes it.
type world struct {
	t       testing.TB
	issuer  string
	epoch   int64
	signer  *auditor.NoteSigner
	signing ed25519.PrivateKey // of events
	keys    []auditor.EventKey
	entries [][]byte
	numbers map[string]int64 // by writer
	now     int64
	pruned  int64
}

func newWorld(t testing.TB, tenant string) *world {
	w := &world{t: t, issuer: "https://sts.example/t/" + tenant, epoch: 1, numbers: map[string]int64{}, now: start}
	w.signer = auditor.NewNoteSigner(auditor.KeyName(w.issuer), key(tenant+" checkpoints"))
	w.useKey(key(tenant + " events"))
	return w
}

// useKey makes events be signed by another key.
func (w *world) useKey(k ed25519.PrivateKey) {
	w.signing = k
	published := auditor.NewEventKey(thumbprint(k), k.Public().(ed25519.PublicKey))
	published.NotBefore = w.now
	w.keys = append(w.keys, published)
}

func (w *world) vkey() string {
	vkey, err := w.signer.VerifierKey()
	if err != nil {
		w.t.Fatal(err)
	}
	return vkey
}

// claims are those of an event, before they are signed.
type claims map[string]any

// claims returns those of the next event of a writer.
func (w *world) claims(writer, name string, body claims) claims {
	w.now++
	w.numbers[writer]++
	if body == nil {
		body = claims{"outcome": "denied", "reason": "policy.no_rule", "agent": "spiffe://example/agent"}
	}
	return claims{"iss": w.issuer, "aud": w.issuer + "/log", "iat": w.now, "toe": w.now, "txn": "run",
		"jti": fmt.Sprintf("%s-%d", writer, w.numbers[writer]), "wid": writer, "wsn": w.numbers[writer],
		"sub_id": claims{"format": "uri", "uri": "spiffe://example/agent"},
		"events": claims{"urn:bursar:event:" + name + ":v1": body}}
}

func sign(t testing.TB, k ed25519.PrivateKey, kid string, c claims) []byte {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	header := fmt.Sprintf(`{"alg":"EdDSA","kid":"%s","typ":"secevent+jwt"}`, kid)
	signed := base64.RawURLEncoding.AppendEncode(nil, []byte(header))
	signed = base64.RawURLEncoding.AppendEncode(append(signed, '.'), payload)
	signature := ed25519.Sign(k, signed)
	return base64.RawURLEncoding.AppendEncode(append(signed, '.'), signature)
}

func (w *world) sign(c claims) []byte { return sign(w.t, w.signing, thumbprint(w.signing), c) }

// event appends one.
func (w *world) event(writer, name string, body claims) {
	w.entries = append(w.entries, w.sign(w.claims(writer, name, body)))
}

// grow appends events of two writers until there are n.
func (w *world) grow(n int) *world {
	for len(w.entries) < n {
		writer := []string{"one", "two"}[len(w.entries)*2/3%2]
		name := "token.exchange"
		if w.numbers[writer] == 0 {
			name = "writer.start"
		}
		w.event(writer, name, nil)
	}
	return w
}

func root(entries [][]byte) tlog.Hash {
	var edge auditor.Edge
	for _, entry := range entries {
		edge.Append(tlog.RecordHash(entry))
	}
	return edge.Root()
}

func signNote(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (w *world) checkpoint(entries [][]byte, signers ...note.Signer) []byte {
	c := auditor.Checkpoint{Origin: auditor.Origin(w.issuer, w.epoch), Size: int64(len(entries)), Root: root(entries)}
	return signNote(w.t, c.Text(), append([]note.Signer{w.signer}, signers...)...)
}

// export is what an export holds, by the name of the file.
type export struct {
	t     testing.TB
	names []string
	files map[string][]byte
}

// export returns that of the log as it is.
func (w *world) export() *export { return w.exportOf(w.entries) }

func (w *world) exportOf(entries [][]byte) *export {
	w.t.Helper()
	text, err := auditor.KeysText(auditor.KeyName(w.issuer), w.keys)
	if err != nil {
		w.t.Fatal(err)
	}
	x := &export{t: w.t, files: map[string][]byte{}}
	x.put("checkpoint", w.checkpoint(entries))
	x.put("keys", signNote(w.t, text, w.signer))
	x.put("vkey", []byte(w.vkey()+"\n"))
	x.tiles(entries, w.pruned)
	return x
}

func (x *export) put(name string, data []byte) {
	if _, there := x.files[name]; !there {
		x.names = append(x.names, name)
	}
	x.files[name] = data
}

// tiles makes the tiles and bundles of a log. The tiles are those that x/mod says they are.
func (x *export) tiles(entries [][]byte, first int64) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for i, entry := range entries {
		more, err := tlog.StoredHashes(int64(i), entry, read)
		if err != nil {
			x.t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	for f := range auditor.Layout(first, int64(len(entries))) {
		if f.Level == auditor.Entries {
			x.put(f.Name, bundleOf(x.t, entries[f.Index*256:][:f.Width]))
			continue
		}
		data, err := tlog.ReadTileData(tlog.Tile{H: 8, L: f.Level, N: f.Index, W: f.Width}, read)
		if err != nil {
			x.t.Fatal(err)
		}
		x.put(f.Name, data)
	}
}

func bundleOf(t testing.TB, entries [][]byte) (bundle []byte) {
	t.Helper()
	for _, entry := range entries {
		var err error
		if bundle, err = auditor.AppendEntry(bundle, entry); err != nil {
			t.Fatal(err)
		}
	}
	return bundle
}

// rewrite puts other entries into the bundles, and leaves the tiles as they are. The bundles keep their widths, but for
// those at the end.
func (x *export) rewrite(entries [][]byte) *export {
	for _, name := range slices.Clone(x.names) {
		if isBundle(name) {
			x.drop(name)
		}
	}
	for i := 0; i*256 < len(entries); i++ {
		some := entries[i*256 : min(len(entries), i*256+256)]
		x.put(auditor.BundlePath(int64(i), len(some)), bundleOf(x.t, some))
	}
	return x
}

func (x *export) drop(name string) {
	delete(x.files, name)
	x.names = slices.DeleteFunc(x.names, func(n string) bool { return n == name })
}

func isBundle(name string) bool { return strings.HasPrefix(name, "tile/entries/") }

// order returns the names in the order of an export.
func (x *export) order() []string {
	place := func(name string) [4]int64 {
		if i := slices.Index([]string{"checkpoint", "keys", "vkey"}, name); i >= 0 {
			return [4]int64{int64(i)}
		}
		if index, _, err := auditor.ParseBundlePath(name); err == nil {
			return [4]int64{5, index, 1}
		}
		level, index, _, err := auditor.ParseTilePath(name)
		switch {
		case err != nil:
			return [4]int64{7}
		case level == 0:
			return [4]int64{5, index, 0}
		case slices.Index(x.names, name) < slices.IndexFunc(x.names, isBundle): // as Layout had it
			return [4]int64{4, int64(level), index}
		}
		return [4]int64{6, int64(level), index}
	}
	names := slices.Clone(x.names)
	slices.SortStableFunc(names, func(a, b string) int {
		p, q := place(a), place(b)
		return slices.Compare(p[:], q[:])
	})
	return names
}

// pack returns the export as a file.
func (x *export) pack(compress bool) []byte {
	x.t.Helper()
	var out bytes.Buffer
	w := auditor.NewWriter(&out, compress)
	for _, name := range x.order() {
		if err := w.Add(name, x.files[name]); err != nil {
			x.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		x.t.Fatal(err)
	}
	return out.Bytes()
}

// verify verifies the export.
func (x *export) verify(o auditor.Options) *auditor.Report {
	x.t.Helper()
	return verify(x.t, x.pack(false), o)
}

func verify(t testing.TB, packed []byte, o auditor.Options) *auditor.Report {
	t.Helper()
	r, err := auditor.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	report, err := auditor.Verify(context.Background(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// told is a finding as a test names it.
type told struct {
	code  auditor.Code
	kind  auditor.Kind
	index int64
	to    int64
}

func toldBy(r *auditor.Report) (all []told) {
	for _, f := range r.Findings {
		all = append(all, told{f.Code, f.Kind, f.Index, f.To})
	}
	return all
}

// expect holds the findings against those that are wanted, all of them.
func expect(t *testing.T, r *auditor.Report, want ...told) {
	t.Helper()
	got := toldBy(r)
	by := func(a, b told) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.code, b.code), cmp.Compare(a.kind, b.kind))
	}
	slices.SortFunc(got, by)
	slices.SortFunc(want, by)
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
		for _, f := range r.Findings {
			t.Logf("%s", f.Message)
		}
	}
}

// swapped returns a copy in which two entries have changed places, and so on.
func swapped(entries [][]byte, i, j int) [][]byte {
	all := slices.Clone(entries)
	all[i], all[j] = all[j], all[i]
	return all
}

func without(entries [][]byte, i int) [][]byte { return slices.Delete(slices.Clone(entries), i, i+1) }

func with(entries [][]byte, i int, more ...[]byte) [][]byte {
	return slices.Insert(slices.Clone(entries), i, more...)
}

func replaced(entries [][]byte, i int, entry []byte) [][]byte {
	all := slices.Clone(entries)
	all[i] = entry
	return all
}

// flipped returns an entry with one bit of its claims changed, so that it is still an event.
func flipped(t testing.TB, entry []byte) []byte {
	t.Helper()
	return amended(t, entry, "no_rule", "no_rulf")
}

// amended returns an entry with other claims under the same signature.
func amended(t testing.TB, entry []byte, from, to string) []byte {
	t.Helper()
	parts := bytes.Split(entry, []byte("."))
	payload, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		t.Fatal(err)
	}
	payload = bytes.Replace(payload, []byte(from), []byte(to), 1)
	parts[1] = base64.RawURLEncoding.AppendEncode(nil, payload)
	changed := bytes.Join(parts, []byte("."))
	if bytes.Equal(changed, entry) {
		t.Fatal("nothing changed")
	}
	return changed
}

// cosigner is a witness (C2SP tlog-cosignature).
type cosigner struct {
	name string
	key  ed25519.PrivateKey
	time uint64
}

func (c cosigner) material() []byte {
	return append([]byte{4}, c.key.Public().(ed25519.PublicKey)...)
}

func (c cosigner) Name() string { return c.name }

func (c cosigner) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(c.name+"\n"), c.material()...))
	return binary.BigEndian.Uint32(sum[:])
}

func (c cosigner) Sign(text []byte) ([]byte, error) {
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", c.time, text)
	return append(binary.BigEndian.AppendUint64(nil, c.time), ed25519.Sign(c.key, []byte(message))...), nil
}

func (c cosigner) vkey() string {
	return fmt.Sprintf("%s+%08x+%s", c.name, c.KeyHash(), base64.StdEncoding.EncodeToString(c.material()))
}
