#!/usr/bin/env python3
"""kvasir-sim from its command line: each format, packed and not, gives the hits that dictionaries count; tables, JSON, pictures, mistakes.

Usage: sim.py KVASIR-SIM

Where the environment's KVASIR_TRACES names a folder with mooncake-conversation.jsonl.zst, the published hit rates of that trace are checked too.
"""

import collections
import io
import json
import os
import random
import resource
import subprocess
import sys
import tarfile
import tempfile

SIM = os.path.abspath(sys.argv[1])
BLOCK = 512
REQUESTS = 300


def check(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def run(code, *arguments):
    done = subprocess.run([SIM, *arguments], capture_output=True, timeout=200, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    check(done.returncode == code, f"kvasir-sim {' '.join(arguments)}: exit {done.returncode}, not {code}: {out}{err}")
    return out, err


def rows(*arguments):
    """Of the JSON document, by policy and capacity."""
    document = json.loads(run(0, "--json", *arguments)[0])
    return {(row["policy"], int(row["capacity_tokens"])): row for row in document["rows"]}, document


def chains(seed):
    """Prompts that go on from earlier ones; each id is new where the prompt leaves the others, as in the published traces."""
    generator = random.Random(seed)
    made, fresh = [], 0
    for _ in range(REQUESTS):
        chain = list(generator.choice(made[-40:])) if made and generator.random() < 0.7 else []
        chain = chain[: generator.randint(0, len(chain))] if generator.random() < 0.3 else chain
        for _ in range(generator.randint(1, 6)):
            chain.append(fresh)
            fresh += 1
        made.append(chain)
    return made


def lru_hits(prompts, capacity):
    """Tails first; all of a prompt is stored, then the oldest blocks go."""
    cache, hits = collections.OrderedDict(), 0
    for chain in prompts:
        for block in chain:
            if block not in cache:
                break
            hits += 1
        for block in reversed(chain):
            cache[block] = True
            cache.move_to_end(block)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return hits


def belady_hits(prompts, capacity):
    ahead = collections.defaultdict(list)
    for number, chain in enumerate(prompts):
        for block in chain:
            ahead[block].append(number)
    cache, hits = {}, 0
    for number, chain in enumerate(prompts):
        for block in chain:
            if block not in cache:
                break
            hits += 1
        for depth, block in enumerate(chain):
            later = [at for at in ahead[block] if at > number]
            cache[block] = (later[0] if later else sys.maxsize, depth)
        while len(cache) > capacity:
            del cache[max(cache, key=cache.get)]
    return hits


def write(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def mooncake(prompts):
    return [
        {"timestamp": number * 100, "input_length": len(chain) * BLOCK - 7, "output_length": 1, "hash_ids": chain}
        for number, chain in enumerate(prompts)
    ]


def bailian(prompts):
    return [
        {
            "chat_id": number,
            "parent_chat_id": -1,
            "timestamp": number * 0.1,
            "turn": 1,
            "type": "text",
            "hash_ids": [16 * block + part for block in chain for part in range(16)],
        }
        for number, chain in enumerate(prompts)
    ]


def like_dictionaries(scratch):
    prompts = chains(1)
    asked = sum(len(chain) for chain in prompts)
    formats = {
        BLOCK: write(f"{scratch}/mooncake.jsonl", mooncake(prompts)),
        256: write(f"{scratch}/bailian.jsonl", bailian(prompts)),
    }
    for tokens, path in formats.items():
        capacities = [20, 60, 200]
        listed = ",".join(str(capacity * tokens) for capacity in capacities)
        found, document = rows("--capacity", listed, path)
        check(document["trace"]["requests"] == REQUESTS, document["trace"])
        check(document["trace"]["chunk_tokens"] == tokens, document["trace"])
        for capacity in capacities:
            for policy, expected in (
                ("lru", lru_hits(prompts, capacity)),
                ("infinite", lru_hits(prompts, 1 << 30)),
                ("belady", belady_hits(prompts, capacity)),
            ):
                one = found[policy, capacity * tokens]["seeds"][0]
                check(one["hits"] == expected, f"{path}, {policy}, {capacity}: {one['hits']} hits, not {expected}")
                check(one["chunks"] == asked, f"{one['chunks']} chunks, not {asked}")
    return formats[BLOCK]


def agent_run(chain, shift):
    """A run whose prompts grow by a block a request."""
    return {
        "block_size": BLOCK,
        "requests": [
            {"t": 10.0 * turn + shift, "in": BLOCK * (turn + 1) + shift, "out": turn + shift, "hash_ids": chain[: turn + 1], "stop": "tool_use"}
            for turn in range(len(chain))
        ],
    }


def runs(scratch):
    folder = f"{scratch}/runs"
    os.mkdir(folder)
    with tarfile.open(f"{scratch}/runs.tar", "w") as archive:
        for number in range(12):
            text = json.dumps(agent_run(list(range(20)), number if number < 11 else 0)).encode()
            with open(f"{folder}/run{number:02}.json", "wb") as file:
                file.write(text)
            about = tarfile.TarInfo(f"run{number:02}.json")
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text))
    options = ["--capacity", "0.5x,40k", "--seeds", "3", "--load", "50", "--warm-up", "0.1"]
    found, document = rows(*options, folder)
    check(document["trace"]["duplicates"] == 1, document["trace"])
    check(len(found["lru", 40000]["seeds"]) == 3, found["lru", 40000])
    check(document["trace"]["open_tokens"] > 0, document["trace"])
    same, _ = rows(*options, f"{scratch}/runs.tar")
    for key, row in found.items():
        check(row["hit_rate"] == same[key]["hit_rate"] and row["paid_s"] == same[key]["paid_s"], f"{key}: an archive is not its folder")
    halves = [json.loads(run(0, "--json", "--half", half, folder)[0])["rows"][0]["seeds"][0]["requests"] for half in ("tune", "report")]
    check(sum(halves) == 11 * 20 and min(halves) > 0, f"halves of {halves} requests")


def reports(scratch, trace):
    picture = f"{scratch}/out.svg"
    out, _ = run(0, "--policy", "lru,belady", "--capacity", "20k,40k", "--plot", picture, trace)
    check("CAPACITY" in out and out.count("belady") >= 2, out)
    with open(picture, encoding="utf-8") as file:
        drawn = file.read()
    check(drawn.startswith("<svg") and drawn.count("<polyline") == 4 and "nan" not in drawn, drawn[:200])
    check(" chunks of 512 tokens in the trace" in out, out)
    check([line.split()[5] for line in out.splitlines() if line.split()[1:2] == ["lru"]] == ["-", "-"], f"a spread of one seed: {out}")
    helped = run(0, "--help")[0]
    for words in ("cost-oracle", "kvasir-sim queue", "29 an hour; 1 unless said", "has to name an ssd"):
        check(words in helped, f"--help without {words}")
    for mode in ([], ["queue"]):
        check(run(0, *mode, "--version")[0].startswith("kvasir-sim "), "no version")
    check(json.loads(run(0, "--json", "--policy", "lru", "--bytes-per-token", "1.5", trace)[0])["bytes_per_token"] == 1.5, "half a byte")


def shares(trace):
    """A share of a capacity is rounded down to whole chunks, and is at least one; and not by what a number of a computer lacks."""
    prompts, chunk = chains(1), BLOCK * 327680
    for tiers, capacity, room in (("memory=0.5", 41, 20), ("memory=0.29", 100, 29), ("memory=1e-6", 100, 1)):
        found, _ = rows("--policy", "lru", "--capacity", str(capacity * BLOCK), "--tiers", tiers, trace)
        row = found["lru", capacity * BLOCK]
        check(row["seeds"][0]["hits"] == lru_hits(prompts, room), f"{tiers} of {capacity}: not the hits of {room}")
        check(row["tiers"][0]["found_bytes"] == row["seeds"][0]["hits"] * chunk, row["tiers"])


def kept_for_nothing(scratch):
    """With room for 4 chunks the third is used last at 10 ks, goes at 20 ks and is needed at 40 ks; 5 goes after 20 ks for it, and 4 is there to the end, 20 ks: nobody needs them."""
    prompts = ((0, [1, 2, 3]), (10, [1, 2, 3]), (20, [4, 5]), (30, [1, 2]), (40, [1, 2, 3]))
    some = write(f"{scratch}/kept.jsonl", [{"timestamp": ks * 1000000, "input_length": len(ids) * BLOCK, "output_length": 1, "hash_ids": ids} for ks, ids in prompts])
    options = ["--policy", "lru", "--capacity", str(4 * BLOCK), "--bytes-per-token", "1e9", some]
    row = rows(*options)[0]["lru", 4 * BLOCK]
    for name, ks in (("wasted_byte_s", 10), ("never_byte_s", 40)):
        check(abs(row[name] / (ks * 1000 * BLOCK * 1e9) - 1) < 1e-6, f"{name}: {row[name]}")
    out, _ = run(0, *options)
    told = next(line.split() for line in out.splitlines() if " lru " in line)
    check(told[-3:-1] == [f"{ks * BLOCK / 3.6:.0f}" for ks in (10, 40)], f"WASTED, NEVER: {told}")


def tiers(trace):
    """With lru memory and SSD have what dictionaries of their sizes have, and are written what they lack; Redis is written no more than what nobody has."""
    prompts, chunk = chains(1), BLOCK * 327680
    asked, hits, loaded = sum(len(chain) for chain in prompts), {}, {}
    for listed in ("memory=0.2,ssd=1@5", "memory=0.2,ssd=1@5,redis=2@1.5", "memory=1,redis=2@1.5", "memory=1"):
        names = [one.split("=")[0] for one in listed.split(",")]
        found, document = rows("--policy", "lru,index,infinite,belady", "--capacity", "20k,40k", "--tiers", listed, trace)
        said = ",".join(f"{tier['name']}={tier['share']:g}" + (f"@{tier['bytes_per_s'] / 1e9:g}" if "bytes_per_s" in tier else "") for tier in document["tiers"])
        check(said == listed and not document["ahead"] and (document["half"], document["hints"]) == ("whole", "none"), f"the header of {listed}: {said}")
        for (policy, capacity), row in found.items():
            one = {tier["name"]: tier for tier in row["tiers"]}
            where = f"{listed}, {policy}, {capacity}: {row['tiers']}"
            hits[listed, policy, capacity] = row["seeds"][0]["hits"]
            loaded[listed, policy, capacity] = row["loaded_bytes"]
            check(list(one) == (["memory"] if policy == "belady" else names), where)
            check((row["gap_closed"] is None) == ("redis" in names), f"{where}: gap_closed {row['gap_closed']}")
            seconds = sum(one[name]["found_bytes"] / rate for name, rate in (("ssd", 5e9), ("redis", 1.5e9)) if name in one)
            check(abs(row["loaded_s"] - seconds) < 1e-3, f"{where}: {row['loaded_s']} s")
            if policy != "lru":
                continue
            room = capacity // BLOCK
            local = lru_hits(prompts, room)
            memory = lru_hits(prompts, room // 5) if "ssd" in one else local
            check(one["memory"]["found_bytes"] == memory * chunk and one["memory"]["written_bytes"] == (asked - memory) * chunk, f"{where}: not {memory}")
            if "ssd" in one:
                check(one["ssd"]["found_bytes"] == (local - memory) * chunk and one["ssd"]["written_bytes"] == (asked - local) * chunk, f"{where}: not {local}")
            if "redis" in one:
                lacked = (asked - hits[listed, policy, capacity]) * chunk  # of that Redis has chunks whose heads it has dropped
                check(lacked / 2 < one["redis"]["written_bytes"] <= lacked, where)
            check((hits[listed, policy, capacity] > local) if "redis" in one else (hits[listed, policy, capacity] == local), where)
    check(loaded["memory=0.2,ssd=1@5", "infinite", 20000] > loaded["memory=0.2,ssd=1@5", "infinite", 40000], "more memory, and not less to load")


def ahead(folder):
    """A link that takes seconds for a chunk brings fewer ahead, and not none."""
    brought = []
    for rate in ("0.05", "0.1", "5"):
        found, document = rows("--policy", "index", "--half", "report", "--hints", "full", "--load", "20", "--capacity", "80k", "--tiers", f"memory=0.3,ssd=1@{rate}", "--ahead", folder)
        row = found["index", 80000]
        check(document["ahead"] and (document["half"], document["hints"]) == ("report", "full"), "the header")
        check(row["ahead_used_bytes"] <= row["ahead_bytes"], row)
        ssd = row["tiers"][1]
        check(ssd["read_bytes"] == ssd["found_bytes"] + row["ahead_bytes"], row["tiers"])
        out, _ = run(0, "--policy", "index", "--half", "report", "--hints", "full", "--load", "20", "--capacity", "80k", "--tiers", f"memory=0.3,ssd=1@{rate}", "--ahead", folder)
        check(all(f"{one['found_bytes'] / (1 << 30):.1f} GiB found in {one['name']}, {one['read_bytes'] / (1 << 30):.1f} read" in out for one in row["tiers"]), out)
        brought.append(row["ahead_bytes"])
    check(0 < brought[0] < brought[1] < brought[2], f"brought ahead: {brought}")


def years(scratch, trace):
    """Gaps of years, and loads of years, are over in seconds; times that no clock holds are refused."""
    far = write(f"{scratch}/far.jsonl", [{"timestamp": ms, "input_length": BLOCK, "output_length": 1, "hash_ids": [1]} for ms in (0, 1, 4000000000000)])
    rows("--policy", "lru,index", "--tiers", "memory=0.5,ssd=1@5", "--ahead", "--capacity", "20k", far)
    slow = ["queue", "--policy", "lru-door,index", "--tails", "light", "--load", "1", "--seeds", "1", "--programs", "30", "--pool", "250k", "--json"]
    run(0, *slow, "--lower", "0.001", "--bytes-per-token", "1e7")
    for arguments in (["--alpha", "1000"], ["--step-ms", "1e6"], ["--lower", "0.001", "--bytes-per-token", "1e9"]):
        check("285 years" in run(1, *slow, "--load", "0.001", "--programs", "20000", *arguments)[1], arguments)
    os.mkdir(f"{scratch}/many")
    for number in range(400):
        with open(f"{scratch}/many/{number}.json", "w", encoding="utf-8") as file:
            json.dump(agent_run([1, 2], number), file)
    run(0, "--load", "1e-4", "--policy", "lru", "--capacity", "20k", f"{scratch}/many")
    check("142 years" in run(1, "--load", "1e-6", "--policy", "lru", "--capacity", "20k", f"{scratch}/many")[1], "starts that no clock holds")


def mistakes(scratch, trace):
    for arguments in ([], ["--policy", "best", trace], ["--capacity", "0", trace], ["--capacity", "-3M", trace], ["--load", "0", trace],
                      ["--seeds", "1.5", trace], ["--plot", "x.gif", trace], ["--warm-up", "1", trace], ["--half", "both", trace], ["--fly"],
                      *(["--tiers", wrong, trace] for wrong in ("ssd=1@5", "memory=1@5", "memory=0,ssd=1@5", "memory=1,ssd=1", "memory=1,memory=1", "memory=1,tape=1@1", ""))):
        _, err = run(2, *arguments)
        check("usage" in err, err)
    for wrong, words in (("ssd=1@5", "memory=SHARE is needed"), ("memory=1,ssd=1", "need @GB/s"), ("memory=1,redis=1@0", "need @GB/s"), ("memory=1@5", "nothing comes after"),
                         ("memory=1,memory=1", "once"), ("memory=1,tape=1@1", "ssd=SHARE@GB/s"), ("memory=0", "a share is")):
        check(words in run(2, "--tiers", wrong, trace)[1], f"--tiers {wrong} is refused without {words}")
    run(0, "--policy", "lru", "--tiers", "redis=1@1,ssd=1@1,memory=1", trace)
    for tiers, options, words in (("memory=1,ssd=0.25@5", [], "smaller"), ("memory=0.2,redis=1@1", ["--ahead"], "--ahead"), ("memory=1", ["--ahead"], "--ahead")):
        check(words in run(2, "--tiers", tiers, *options, trace)[1], f"{tiers} {options}")
    for text, words in (("{}", "block_size"), ('{"timestamp":1,"input_length":-1}', ":1: "), ("", "nothing is in it")):
        path = f"{scratch}/wrong.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        out, err = run(1, path)
        check(words in err and out == "", f"{text}: {err}")
    check("No such file" in run(1, f"{scratch}/nowhere")[1], "a file that is not there")
    check("open working set" in run(1, "--capacity", "1x", trace)[1], "no runs, but an open working set")
    for option, value in (("--half", "tune"), ("--load", "1"), ("--seeds", "2")):
        for mode in ([], ["queue"]):
            check(option in run(1, *mode, option, value, trace)[1], f"{option} of a trace that says when its requests came")
    for level in ("kind", "full", "random", "reversed"):
        for mode in ([], ["queue"]):
            check("does not tell its runs" in run(1, *mode, "--hints", level, trace)[1], f"--hints {level} of a trace that tells no runs")
    run(0, "--policy", "index", "--hints", "continues", trace)


def queueing(scratch):
    """The mode that makes its own programs: each cell and policy is there, what a policy does follows from the seed, and the numbers hold together."""
    picture = f"{scratch}/queue.svg"
    policies = ["lru-fcfs", "lru", "lru-door", "fixed-ttl", "continuum", "continuum-fcfs", "index-open", "index"]
    options = ["--seeds", "2", "--programs", "30", "--lower", "none,5", "--load", "0.5,1.5", "--pool", "250k"]
    document = json.loads(run(0, "queue", "--json", *options)[0])
    check(len(document["cells"]) == 8, f"{len(document['cells'])} cells")
    for cell in document["cells"]:
        check([row["policy"] for row in cell["rows"]] == policies, cell["rows"])
        means = {row["policy"]: row["jct_s"]["mean"] for row in cell["rows"]}
        for row in cell["rows"]:
            best = min(mean for policy, mean in means.items() if policy not in ("lru-fcfs", row["policy"]))
            over = row["over_others"]
            check(abs(over["value"] - row["jct_s"]["mean"] / best) < 1e-5 and over["low"] <= over["value"] <= over["high"], over)
        for row in cell["rows"]:
            jct = row["jct_s"]
            check(jct["low"] <= jct["mean"] <= jct["high"] <= jct["max"] and jct["p50"] <= jct["p95"] <= jct["max"], jct)
            check((row["loaded_bytes"] + row["stored_bytes"] == 0) or cell["lower_bytes_per_s"] > 0, row)
            for one in row["seeds"]:
                check(one["asked_tokens"] == one["hit_tokens"] + one["loaded_tokens"] + one["computed_tokens"], one)
                check(one["computed_s"] >= one["first_s"] and one["busy_s"] <= one["end_s"], one)
    again = json.loads(run(0, "queue", "--json", "--plot", picture, *options)[0])
    for one, other in zip(document["cells"], again["cells"]):
        check([row["jct_s"] for row in one["rows"]] == [row["jct_s"] for row in other["rows"]], "not the same twice")
    with open(picture, encoding="utf-8") as file:
        drawn = file.read()
    check(drawn.startswith("<svg") and drawn.count("<circle") == 9 * len(policies) and "nan" not in drawn and "inf" not in drawn, drawn[:200])
    out, _ = run(0, "queue", "--policy", "lru,index", "--tails", "heavy", *options)
    check(out.count("tails heavy") == 4 and "fixed-ttl" not in out and "%]" in out, out)
    for arguments in (["--policy", "belady"], ["--lower", "0"], ["--lower", "none,"], ["--tails", "fat"], ["--load", "0"], ["--pool", "0.5x"], ["--fly"],
                      ["--lower", "none", "--lower-capacity", "5M"], ["--lower", "none", "--reload-cheaper"], ["--programs", "100001"], ["--plot", "x.gif"], ["--hints", "full"], ["--tails", "light", "trace.jsonl"], ["--half", "both", "trace.jsonl"]):
        check("kvasir-sim" in run(2, "queue", *arguments)[1], f"queue {arguments}")
    _, err = run(1, "queue", "--programs", "5", "--pool", "1k")
    check("does not fit" in err, "a pool that is too small")
    pool = err.split("--pool ")[1].split()[0]
    out, _ = run(0, "queue", "--programs", "5", "--pool", pool, "--seeds", "1", "--tails", "light", "--load", "1", "--lower", "none", "--policy", "lru")
    check("below 1.60M" not in out and "1 seed;" in out and "[ " not in out, out)


def queueing_traces(scratch, trace):
    """The same engine with the runs of a trace, and with requests that have their own times."""
    options = ["queue", "--json", "--lower", "none,5", "--pool", "40k"]
    told = {level: json.loads(run(0, *options, "--policy", "lru,index", "--hints", level, "--seeds", "2", "--load", "20", f"{scratch}/runs")[0]) for level in ("none", "kind")}
    lru, index = ([row["jct_s"]["mean"] for document in told.values() for row in document["cells"][0]["rows"] if row["policy"] == policy] for policy in ("lru", "index"))
    check(index[0] != index[1] and lru[0] == lru[1], f"hints change nothing, or what does not listen: {index}, {lru}")
    runs = json.loads(run(0, *options, "--half", "report", "--hints", "full", "--seeds", "2", "--load", "20,50", f"{scratch}/runs")[0])
    chats = json.loads(run(0, *options, "--programs", "100", trace)[0])
    check([(cell["tails"], cell["load"]) for cell in runs["cells"]] == [("trace", 20), ("trace", 20), ("trace", 50), ("trace", 50)], runs["cells"])
    check(runs["programs"] < 11 and chats["programs"] == 100 and len(chats["cells"]) == 2, (runs["programs"], chats["programs"]))
    check((runs["half"], runs["hints"], chats["half"], chats["hints"]) == ("report", "full", "whole", "none"), "the header")
    for cell in runs["cells"] + chats["cells"]:
        for row in cell["rows"]:
            for one in row["seeds"]:
                check(one["asked_tokens"] == one["hit_tokens"] + one["loaded_tokens"] + one["computed_tokens"], one)
                check(one["computed_s"] >= one["first_s"] > 0 and one["hit_tokens"] > 0, one)
    for cell in runs["cells"]:
        check(all(len(row["seeds"]) == 2 and row["never_byte_s"] == 0 for row in cell["rows"]), "an end that was told")
    again = json.loads(run(0, *options, "--programs", "100", trace)[0])
    check([row["jct_s"] for row in again["cells"][1]["rows"]] == [row["jct_s"] for row in chats["cells"][1]["rows"]], "not the same twice")
    check("trace, load" in run(0, "queue", "--policy", "lru", "--lower", "5", "--pool", "40k", "--plot", f"{scratch}/trace.svg", trace)[0], "no table")
    check("No such file" in run(1, "queue", f"{scratch}/nowhere")[1], "a file that is not there")
    check("--load" in run(1, "queue", "--load", "1", trace)[1], "a load of a trace that says when its requests came")
    check(all(len(row["seeds"]) == 1 and row["jct_s"]["low"] is None for cell in chats["cells"] for row in cell["rows"]), "a trace that says when its requests came has one seed")
    run(0, "queue", "--programs", "200000", "--policy", "lru", "--lower", "5", "--pool", "40k", trace)


def too_large(scratch, trace):
    """What does not fit is refused before there is room for it, with what to say instead."""
    _, err = run(1, "queue", "--pool", "600", trace)
    check("does not fit" in err, err)
    pool = int(err.split("--pool ")[1].split()[0])
    check("does not fit" in run(1, "queue", "--pool", str(pool - 1), trace)[1], "a token less is too small, too")
    run(0, "queue", "--pool", str(pool), "--policy", "lru", "--lower", "none", trace)
    lines = [{"chat_id": number, "parent_chat_id": -1, "timestamp": number, "type": "text", "turn": 1, "hash_ids": [number], "input_length": 16, "output_length": 1 << 28 if number else 1} for number in range(30)]
    huge = write(f"{scratch}/huge.jsonl", lines)
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # the most that one of them took
    check("--pool" in run(1, "queue", "--chunk", "16", "--policy", "lru", huge)[1], "answers that no pool holds")
    taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    check(taken <= max(others, 1 << 20), f"a file of {os.path.getsize(huge)} bytes took {taken} KiB")
    run(0, "queue", "--chunk", "16", "--policy", "lru", "--lower", "none", "--programs", "1", huge)


def published():
    folder = os.environ.get("KVASIR_TRACES")
    path = f"{folder}/mooncake-conversation.jsonl.zst"
    if not folder or not os.path.exists(path):
        print("KVASIR_TRACES names no folder with mooncake-conversation.jsonl.zst: the published hit rates were not checked")
        return
    found, _ = rows("--policy", "lru,infinite,belady", "--capacity", "3M,5M,10M,20M", path)
    for policy, capacity, rate in (("lru", 3, 0.136), ("lru", 5, 0.207), ("lru", 10, 0.285), ("lru", 20, 0.351), ("infinite", 20, 0.366),
                                   ("belady", 3, 0.353), ("belady", 5, 0.366)):
        got = found[policy, capacity * 1000000]["hit_rate"]
        check(abs(got - rate) < 0.001, f"{policy} at {capacity} M tokens: {got}, published {rate}")


def promised():
    """What docs/policy.md promises of the index, on the traces that it was measured on, with room for another machine's rounding."""
    folder = os.environ.get("KVASIR_TRACES")
    chats, agents = f"{folder}/mooncake-conversation.jsonl.zst", f"{folder}/agentic-coding.tar.zst"
    if not folder or not os.path.exists(chats) or not os.path.exists(agents):
        print("KVASIR_TRACES names no folder with both published traces: what the index is worth was not checked")
        return
    capacities = "1M,3M,5M,10M,20M,50M"
    found, _ = rows("--policy", "lru,s3fifo,index", "--capacity", capacities, chats)
    for capacity in (int(text[:-1]) * 1000000 for text in capacities.split(",")):
        best = min(found[policy, capacity]["paid_s"] for policy in ("lru", "s3fifo"))
        check(found["index", capacity]["paid_s"] <= 1.03 * best, f"index on chats at {capacity}: more than 3 % above {best}")
    for hints, least in (("none", None), ("kind", 0.2), ("full", 0.5), ("random", None), ("reversed", None)):
        document = json.loads(run(0, "--json", "--policy", "lru,index,belady", "--half", "report", "--hints", hints, "--warm-up", "0.2",
                                  "--seeds", "5", "--capacity", "0.125x,0.25x,0.5x,1x,2x", agents)[0])
        lru, index = ([row for row in document["rows"] if row["policy"] == policy] for policy in ("lru", "index"))
        for place, (one, other) in enumerate(zip(lru, index)):
            most = 1.03 if place < 3 else 1.01  # from the open working set on hardly anything is to be gained
            check(other["paid_s"] <= most * one["paid_s"], f"index with hints {hints}, capacity {place}: more than {most} of LRU")
            check(least is None or place > 2 or other["gap_closed"] >= least, f"index with hints {hints}, capacity {place}: {other['gap_closed']}")


with tempfile.TemporaryDirectory() as scratch:
    trace = like_dictionaries(scratch)
    runs(scratch)
    reports(scratch, trace)
    shares(trace)
    kept_for_nothing(scratch)
    tiers(trace)
    ahead(f"{scratch}/runs")
    years(scratch, trace)
    mistakes(scratch, trace)
    queueing(scratch)
    queueing_traces(scratch, trace)
    too_large(scratch, trace)
    published()
    promised()
