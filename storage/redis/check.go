package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

const (
	format     = "2" // of the stored data; another number stops Open
	minVersion = 7   // scripts replicate their effects, SET takes NX together with GET
)

// primary is what one primary says of itself.
type primary struct {
	info  map[string]string
	fsync string // appendfsync; empty where CONFIG is not permitted
}

// check refuses a Redis that would lose what it acknowledged, and one that holds another format.
func (db *DB) check(ctx context.Context, acceptVolatile bool) error {
	primaries, err := db.primaries(ctx)
	if err != nil {
		return unavailable("ask Redis about itself", err)
	}
	var problems []string
	for _, p := range primaries {
		problems = append(problems, p.unfit()...)
		if !acceptVolatile {
			problems = append(problems, p.volatile()...)
		}
		if p.info["connected_slaves"] != "0" {
			db.replicated.Store(true)
		}
	}
	if _, cluster := db.client.(*goredis.ClusterClient); !cluster && primaries[0].info["cluster_enabled"] == "1" {
		problems = append(problems, "it is a node of a cluster: use redis-cluster:// in the URL")
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return fmt.Errorf("this Redis cannot be the store: %s", strings.Join(slices.Compact(problems), "; "))
	}
	db.durability = db.describe(primaries)
	if db.guest {
		return db.welcome(ctx)
	}
	return db.mark(ctx)
}

// primaries asks every node that takes writes.
func (db *DB) primaries(ctx context.Context) ([]primary, error) {
	cluster, ok := db.client.(*goredis.ClusterClient)
	if !ok {
		p, err := ask(ctx, db.client)
		return []primary{p}, err
	}
	var mu sync.Mutex
	var all []primary
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *goredis.Client) error {
		p, err := ask(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, p)
		return err
	})
	if err == nil && len(all) == 0 {
		err = errors.New("the cluster has no primary")
	}
	return all, err
}

func ask(ctx context.Context, node goredis.UniversalClient) (primary, error) {
	text, err := node.Info(ctx).Result()
	if err != nil {
		return primary{}, err
	}
	p := primary{info: parseInfo(text)}
	// Managed services often forbid CONFIG; INFO has everything that is required.
	if values, err := node.ConfigGet(ctx, "appendfsync").Result(); err == nil {
		p.fsync = values["appendfsync"]
	}
	return p, nil
}

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// unfit lists what no setting can accept.
func (p primary) unfit() (problems []string) {
	major, _, _ := strings.Cut(p.info["redis_version"], ".")
	if n, err := strconv.Atoi(major); err != nil || n < minVersion {
		problems = append(problems, fmt.Sprintf("its version is below %d", minVersion))
	}
	if p.info["role"] != "master" {
		problems = append(problems, "it is a replica: name the primary, or use redis-sentinel://")
	}
	return problems
}

// volatile lists what could make it lose acknowledged writes.
func (p primary) volatile() (problems []string) {
	if p.info["aof_enabled"] != "1" {
		problems = append(problems, "it keeps no append-only file: set appendonly yes")
	}
	if p.info["maxmemory_policy"] != "noeviction" {
		problems = append(problems, "it may evict revocations when memory runs short: set maxmemory-policy noeviction")
	}
	return problems
}

// mark claims an empty Redis for our format, or checks that it is ours.
func (db *DB) mark(ctx context.Context) error {
	found, err := db.client.SetArgs(ctx, formatKey, format, goredis.SetArgs{Mode: "NX", Get: true}).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return nil
	case err != nil:
		return unavailable("read the format number", err)
	}
	return sameFormat(found)
}

func sameFormat(found string) error {
	if found == format {
		return nil
	}
	return fmt.Errorf("the store has another format than the %s that this bursar reads; use the version that wrote it",
		format)
}

func (db *DB) describe(primaries []primary) string {
	weakest := slices.MinFunc(primaries, func(a, b primary) int { return a.strength() - b.strength() })
	sentences := map[int]string{
		0: "An acknowledged write is in the memory of Redis only and is lost when it stops",
		1: "An acknowledged write survives a crash of Redis; after a crash of the machine half a minute may be missing" +
			" (appendfsync no)",
		2: "An acknowledged write survives a crash of Redis; how much a crash of the machine loses is unknown, because" +
			" Redis does not tell us appendfsync",
		3: "An acknowledged write survives a crash of Redis; after a crash of the machine the last second may be missing" +
			" (appendfsync everysec)",
		4: "An acknowledged write has been synced to Redis's disk and survives a crash of Redis or of the machine" +
			" (appendfsync always)",
	}
	text := sentences[weakest.strength()]
	switch {
	case !db.replicated.Load():
		return text + "; there is no replica."
	case db.replicateAppends:
		return text + "; a replica has it too."
	}
	return text + "; a replica has changes and revocations too, but not necessarily the last issuances."
}

// strength orders primaries by what they keep.
func (p primary) strength() int {
	if p.info["aof_enabled"] != "1" {
		return 0
	}
	strengths := map[string]int{"no": 1, "": 2, "everysec": 3, "always": 4}
	return strengths[p.fsync]
}
