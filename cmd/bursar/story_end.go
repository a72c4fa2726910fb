package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tellRotation is the change of the key while the agent works.
func (s *story) tellRotation(ctx context.Context) error {
	s.stream = follow(s.call("/v1/ledger/stream"), s.path("agent/ledger.txt"))
	keys := s.legacy + "/keys"
	return s.run(ctx,
		step{says: "The agent follows the ledger: a call that does not end.", do: s.stream.start()},
		step{says: "Meanwhile the key is to be changed. The API makes a second one,",
			do: curl{method: "POST", url: keys, status: http.StatusCreated}, into: s.path("payments-2.key")},
		step{says: "which is put beside the first; nothing uses it yet,",
			do: do("secret", "put", "acme/payments-key", "--host", s.legacy, "-").reading(s.path("payments-2.key"))},
		step{says: "until it is activated.", do: do("secret", "activate", "acme/payments-key")},
		step{says: "The very next call carries the new key, with the agent's same token.",
			do: s.call("/v1/refunds/re-1001"), keep: s.path("agent/refund.json"), holds: `"key":"key-2"`},
		step{says: "The call that was under way goes on with the one it began with.",
			do: s.stream.more(), holds: `"key":"key-1"`},
		step{says: "The API takes the first key back. Nobody noticed anything.",
			do: curl{method: "DELETE", url: keys, status: http.StatusNoContent}},
		step{says: "Neither key is anywhere: not in what the agent has or was sent, not in the server's store or log. " +
			"Only whoever made\n   them still has the files.", do: s.search(s.path("payments.key"), s.path("payments-2.key"))})
}

// search looks for the keys that are in these files, alone, in every file of the demonstration. They must be in these.
func (d *demo) search(files ...string) shell {
	text := "grep -rlF"
	for _, file := range files {
		text += " -f " + shellWord(file)
	}
	return shell{text + " " + shellWord(d.dir), func(context.Context) (string, error) {
		var keys, found []string
		for _, file := range files {
			key, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			keys = append(keys, strings.TrimSpace(string(key)))
		}
		err := filepath.WalkDir(d.dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(string(content), key) }) {
				found = append(found, path)
			}
			return err
		})
		slices.Sort(found)
		slices.Sort(files)
		if err == nil && !slices.Equal(found, files) {
			err = errors.New("the keys are in " + strings.Join(found, ", "))
		}
		return strings.Join(found, "\n"), err
	}}
}

// tellRevocation is the end of a token, and then of an agent.
func (s *story) tellRevocation(ctx context.Context) error {
	id, err := jti(s.path("token.jwt"))
	if err != nil {
		return err
	}
	refund, made := s.call("/v1/refunds/re-1000"), s.call("/v1/refunds/re-1001")
	refund.status, refund.head = http.StatusUnauthorized, true
	made.status, made.token = http.StatusUnauthorized, s.path("alice.jwt")
	again := s.exchange("--subject-token-file", s.path("agent.jwt"))
	return s.run(ctx,
		step{says: "Something looks wrong: the token is revoked.", do: do("revoke", "acme", "--jti", id)},
		step{says: "The call that was under way is cut off.", do: s.stream.end()},
		step{says: "The next is refused.", do: refund, keep: s.path("agent/refused.txt"), holds: "invalid_token"},
		step{says: "Now the whole agent: all of its tokens, and no new ones.",
			do: do("revoke", "acme", "--client", "ap-bot")},
		step{says: "The token that it has for alice is gone too.", do: made, keep: s.path("agent/gone.json")},
		step{says: "It gets no other.", do: refused(again...)},
		step{says: "The agent is repaired and enabled again; what was revoked stays revoked.",
			do: do("enable", "acme", "--client", "ap-bot")},
		step{says: "It works on.", do: do(again...), into: s.path("token.jwt")},
		step{says: "Everything is on record, allowed or refused: each use of a key before the call left (intent), and how " +
			"it ended\n   (outcome). The reason that the agent was not told is here.",
			do: do("audit", "tail", "acme", "-n", "40"), holds: "key.use"})
}
