package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
)

// eventChoice are the flags that name one event.
type eventChoice struct{ id operator.EventID }

// ids adds the flags that name an event by an id.
func (e *eventChoice) ids(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.id.JTI, "jti", "", "id of a token, whose issue is meant, or of the event itself")
	cmd.Flags().StringVar(&e.id.Decision, "decision", "", "id of a decision, which every refused caller is told")
}

func (p *program) auditProveCommand() *cobra.Command {
	var choice *logChoice
	var event eventChoice
	var keys []string
	var output, eventFile string
	cmd := command("prove (TENANT | --platform) (--index N | --jti ID | --decision ID) [-o FILE]",
		"Fetch the proof that an event is in a log, and verify it", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			if event.id.Index < 0 {
				return usage("the index of an event is 0 or more")
			}
			log, _, err := choice.open(args, 0)
			if err != nil {
				return err
			}
			found, err := p.prove(ctx, log, event.id, keys)
			if err != nil {
				return atLog(err)
			}
			return p.keepProof(found, output, eventFile)
		})
	cmd.Long = cmd.Short + `.

The proof has the C2SP format tlog-proof: the place of the event, the hashes up to the root, and the signed checkpoint.
With the event itself (--event) and the key of the log, it convinces anybody, offline.`
	choice = p.chooseLog(cmd)
	cmd.Flags().Int64Var(&event.id.Index, "index", 0, "place of the event in the log, from 0")
	event.ids(cmd)
	oneOf(cmd, true, "index", "jti", "decision")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "key of the log, or @FILE that holds it (default: the server's word)")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file that gets the proof (default: standard output)")
	cmd.Flags().StringVar(&eventFile, "event", "", "file that gets the event as it was signed, which the proof is about")
	return cmd
}

// proven is an event of a log, and what was found out about it.
type proven struct {
	Index     int64           `json:"index"`
	SET       string          `json:"set"`
	Claims    json.RawMessage `json:"claims"`
	Signature string          `json:"signature"` // good, wrong, unknown-key, revoked-key or misused-key
	KeyID     string          `json:"kid"`       // of the key that the event names
	Origin    string          `json:"origin"`    // of the checkpoint that the proof leads to
	Size      int64           `json:"size"`
	KeyGiven  bool            `json:"key_given"` // the checkpoint was verified by a key that the caller gave

	set   *auditor.SET
	proof []byte
}

// prove fetches an event and the proof that it is in the log, and verifies both: by the keys that were given, or else
// by those that the server publishes.
func (p *program) prove(ctx context.Context, log *operator.Log, id operator.EventID, keys []string) (*proven, error) {
	given, err := p.readKeys(keys)
	if err != nil {
		return nil, err
	}
	for _, key := range given {
		if _, err := note.NewVerifier(key); err != nil {
			return nil, usage(fmt.Sprintf("%q is not the key of a log", key), "a key is one line: <name>+<hash>+<base64>")
		}
	}
	text, err := log.Proof(ctx, id)
	if err != nil {
		return nil, err
	}
	proof, err := auditor.ParseProof(text)
	if err != nil {
		return nil, disproved(err)
	}
	found := &proven{Index: proof.Index, KeyGiven: len(given) > 0, proof: text}
	if err := found.fetch(ctx, log, id); err != nil {
		return nil, err
	}
	if !found.KeyGiven {
		if given, _, err = publishedKeys(ctx, log); err != nil {
			return nil, err
		}
	}
	head, err := proof.Verify([]byte(found.SET), given...)
	if err != nil {
		return nil, disproved(err)
	}
	found.Origin, found.Size = head.Origin, head.Size
	return found, found.checkSignature(ctx, log, given)
}

func disproved(err error) error {
	return &failure{code: exitRefused, text: "the proof does not hold: " + err.Error(),
		hints: []string{"export the log, and verify all of it: bursar audit export, bursar audit verify"}}
}

// fetch fetches the event, and refuses one that is not what was asked for.
func (f *proven) fetch(ctx context.Context, log *operator.Log, id operator.EventID) error {
	for e, err := range log.Stream(operator.StreamQuery{After: f.Index, Limit: 1}).Events(ctx) {
		if err != nil {
			return err
		}
		if e.Index == f.Index {
			f.SET = e.SET
		}
	}
	set, err := auditor.ParseSET([]byte(f.SET))
	if err != nil {
		return disproved(fmt.Errorf("entry %d: %w", f.Index, err))
	}
	f.set, f.Claims, f.KeyID = set, set.Claims, set.KeyID
	var body struct {
		Decision string `json:"decision_id"`
		Token    struct {
			JTI string `json:"jti"`
		} `json:"token"`
	}
	if err := json.Unmarshal(set.Body, &body); err != nil {
		return disproved(fmt.Errorf("entry %d: %w", f.Index, err))
	}
	switch {
	case id.JTI != "" && id.JTI != set.ID && id.JTI != body.Token.JTI,
		id.JTI == "" && id.Decision != "" && id.Decision != body.Decision,
		id.JTI == "" && id.Decision == "" && id.Index != f.Index:
		return disproved(fmt.Errorf("the server answered with entry %d, which is not what was asked for", f.Index))
	}
	return nil
}

// checkSignature finds out who signed the event.
func (f *proven) checkSignature(ctx context.Context, log *operator.Log, vkeys []string) error {
	signed, err := log.Keys(ctx)
	if err != nil {
		return err
	}
	var keys []auditor.EventKey
	for _, vkey := range vkeys {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return err // it verified the proof
		}
		if keys, err = auditor.OpenKeys(signed, v.Name(), v); err == nil {
			break
		}
	}
	f.Signature = "unknown-key"
	for _, key := range keys {
		public, err := key.Public()
		switch {
		case key.KeyID != f.KeyID:
		case err != nil || !f.set.Verify(public):
			f.Signature = "wrong"
		case key.Revoked != 0 && f.set.IssuedAt >= key.Revoked:
			f.Signature = "revoked-key"
		case !key.MaySign(f.set.Name):
			f.Signature = "misused-key"
		default:
			f.Signature = "good"
		}
	}
	return nil
}

// verdict says what was proved, and by whose key.
func (f *proven) verdict() string {
	by := "by the key that was given"
	if !f.KeyGiven {
		by = "by the key that the server itself publishes; --key takes one that you keep"
	}
	return harmless(fmt.Sprintf("entry %d (%s) is in %s, among %s that were signed %s", f.Index, f.set.Name, f.Origin,
		plural(f.Size, "event"), by))
}

// signed is the error of an event that no key of the log signed.
func (f *proven) signed() error {
	if f.Signature == "good" {
		return nil
	}
	return &failure{code: exitRefused,
		text:  fmt.Sprintf("the signature of entry %d is not good: %s", f.Index, f.Signature),
		hints: []string{"export the log, and verify all of it: bursar audit export, bursar audit verify"}}
}

// keepProof writes the proof to where it is wanted, and what it proves to where it does not disturb.
func (p *program) keepProof(f *proven, output, eventFile string) error {
	if err := f.signed(); err != nil {
		return err
	}
	if eventFile != "" {
		if err := os.WriteFile(eventFile, []byte(f.SET), 0o600); err != nil {
			return err
		}
	}
	if output == "" || output == "-" {
		p.say("proved", green, f.verdict())
		_, err := p.out.Write(f.proof)
		return err
	}
	if err := os.WriteFile(output, f.proof, 0o600); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.out, "%s: %s\n", p.paint(green, "proved"), f.verdict())
	return err
}

func (p *program) auditShowCommand() *cobra.Command {
	var choice *logChoice
	var event eventChoice
	var keys []string
	var asJSON *bool
	cmd := command("show (TENANT | --platform) (INDEX | --jti ID | --decision ID)",
		"Show an event with all that it says, and who signed it", cobra.MaximumNArgs(2),
		func(ctx context.Context, args []string) error {
			named := event.id != operator.EventID{}
			most := 1
			if named {
				most = 0
			}
			log, rest, err := choice.open(args, most)
			if err != nil {
				return err
			}
			if !named {
				if len(rest) == 0 {
					return usage("name the event: by its index, --jti or --decision")
				}
				if event.id.Index, err = parseIndex(rest[0]); err != nil {
					return err
				}
			}
			found, err := p.prove(ctx, log, event.id, keys)
			if err != nil {
				return atLog(err)
			}
			if *asJSON {
				return errors.Join(p.printJSON(found), found.signed())
			}
			return errors.Join(p.printProven(found), found.signed())
		})
	choice, asJSON = p.chooseLog(cmd), jsonFlag(cmd)
	event.ids(cmd)
	oneOf(cmd, false, "jti", "decision")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "key of the log, or @FILE that holds it (default: the server's word)")
	return cmd
}

func parseIndex(text string) (index int64, err error) {
	if err := json.Unmarshal([]byte(text), &index); err != nil || index < 0 {
		return 0, usage("the index of an event is a whole number, 0 or more")
	}
	return index, nil
}

// printProven writes all that an event says.
func (p *program) printProven(f *proven) error {
	claims, err := json.MarshalIndent(f.Claims, "", "  ")
	if err != nil {
		return err
	}
	if err := p.printEvent(operator.Event{Index: f.Index, Claims: f.Claims}); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n")
	for line := range strings.Lines(string(claims)) {
		b.WriteString(harmless(strings.TrimSuffix(line, "\n")) + "\n")
	}
	color := green
	if f.Signature != "good" {
		color = red
	}
	fmt.Fprintf(&b, "\nsignature: %s, key %s\nproved: %s\n", p.paint(color, f.Signature), harmless(f.KeyID), f.verdict())
	_, err = fmt.Fprint(p.out, b.String())
	return err
}
