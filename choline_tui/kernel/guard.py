"""The guard: the first thing a rented machine runs, so that it ends even if nobody ever comes.

``onstart`` makes the POSIX sh script that the market runs at every start of the container. On a machine
with ``CONTAINER_ID`` it saves the instance's own key for the supervisor, keeps an absolute deadline on
the machine's disk, and starts one loop that at the deadline ends the jobs and then has the instance
stopped, or destroyed when everything of value is known to be home (``guard/safe``). The call is repeated
until it works. Home moves the deadline with each lease.

The script holds no secret: the instance key comes from the container's environment (``CONTAINER_ID``,
``CONTAINER_API_KEY``: https://docs.vast.ai, instance environment) and goes to curl and wget by file, not
by argument. A market's limit for the script is ``MAX_SCRIPT`` characters.
"""

import re

from choline_tui.kernel.errors import UsageError

__all__ = ["MAX_SCRIPT", "PREREQUISITES", "RENEWED_S", "onstart"]

MAX_SCRIPT = 4096
RENEWED_S = 1800
"""A machine started again after its deadline gets this long for home to renew it."""

PREREQUISITES = (
    "command -v python3 >/dev/null && command -v rsync >/dev/null || (\n"
    "  apt-get -qq update && apt-get -qq -y install python3 rsync || apk add -q python3 rsync ||\n"
    "  dnf -qy install python3 rsync || yum -qy install python3 rsync\n"
    ") >/dev/null 2>&1 &\n"
)
"""Images without Python or rsync get them, beside everything else the machine does at its start."""

_URL = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._~/-]*)?\Z")

# The loop is a file of its own so that its command line names it: after a restart of the container the
# number in the pid file may belong to anything.
_SCRIPT = r"""# choline-guard: seconds=@SECONDS@ deadline=@DEADLINE@ url=@URL@
export HOME="${HOME:-/root}"
: >"$HOME/.no_auto_tmux"
if [ -n "${CONTAINER_ID:-}" ]; then
G="$HOME/choline/.system/guard" K="${CONTAINER_API_KEY:-}"
(umask 077; mkdir -p "$G"; cd "$G" || exit
chmod 700 . ..
printf '%s\n' "CONTAINER_ID=$CONTAINER_ID" "CONTAINER_API_KEY=$K" 'VAST_URL=@URL@' >env.n && mv env.n env
cat /proc/self/environ >environ 2>/dev/null
J='Content-Type: application/json'
printf '%s\n' "header = Authorization: Bearer $K" "header = $J" >wgetrc
printf 'header="%s"\n' "Authorization: Bearer $K" "$J" >curlrc
rm -f expired
N=$(date +%s); O=$(cat deadline 2>/dev/null); D=$((N+@SECONDS@))
case $O in
''|*[!0-9]*) [ @DEADLINE@ -gt $N ] && [ @DEADLINE@ -lt $D ] && D=@DEADLINE@;;
*) if [ $O -gt $N ]; then D=$O; else D=$((N+@RENEWED@)); fi;;
esac
echo $D >deadline.n && mv deadline.n deadline
cat >guard.sh <<'EOG'
cd "$1" || exit; echo $$ >pid; U='@URL@/api/v0/instances/'$CONTAINER_ID/; L=$2
call() {
curl -fsS -m 60 -K curlrc -X $1 -d "$2" "$U" ||
WGETRC=wgetrc wget -qO- -T 60 --method=$1 --body-data="$2" "$U" ||
python3 -c 'import sys,urllib.request as r
e=dict(l.rstrip("\n").split("=",1) for l in open("env"))
m,b,u=sys.argv[1:]
h={"Authorization":"Bearer "+e["CONTAINER_API_KEY"],"Content-Type":"application/json"}
print(r.urlopen(r.Request(u,b.encode(),h,method=m),timeout=60).read()[:300])' $1 "$2" "$U"
}
J() { for p in ../jobs/*/pgid; do [ -f "$p" ] && kill -$1 -$(cat "$p"); done; }
while D=$(cat deadline 2>/dev/null)
case $D in ''|*[!0-9]*) D=$L;; esac
L=$D; [ $(date +%s) -lt $D ]; do sleep ${GUARD_POLL:-20}; done
echo "$(date): deadline"; : >expired
if ls ../jobs/*/pgid; then J TERM; sleep ${GUARD_GRACE:-60}; J KILL; fi
while :; do
if [ -f safe ]; then call DELETE '{}'; else call PUT '{"state":"stopped"}'; fi
echo " $(date): asked ($?)"; sleep ${GUARD_RETRY:-30}
done
EOG
P=$(cat pid 2>/dev/null); grep -qs guard.sh /proc/${P:-x}/cmdline || {
R=; command -v nohup >/dev/null && R=nohup; command -v setsid >/dev/null && R=setsid
$R sh guard.sh "$G" $D </dev/null >>guard.log 2>&1 & }
[ -f ../run ] && sh ../run ensure </dev/null >/dev/null 2>&1 &
)
fi
"""


def onstart(seconds: int, url: str, extra: str = "", *, deadline: int = 0, prerequisites: bool = True) -> str:
    """The script for ``onstart``.

    ``seconds``: how long the machine may live from its first start. ``deadline``: epoch s by which home
    wants it to be over, 0 for none; it counts when it is ahead on the machine's clock and sooner.
    ``url``: the market's API without a path. ``extra``: shell lines that run after the guard has begun.
    Raises ``UsageError`` for a bad URL, a time that is none, or a script beyond ``MAX_SCRIPT``.
    """
    url = url.rstrip("/")
    if not _URL.match(url):
        raise UsageError("the market's URL cannot be used in a guard: %.100r" % url)
    if not 0 < int(seconds) < 1 << 31 or not 0 <= int(deadline) < 1 << 33:
        raise UsageError("a machine's life must be a positive number of seconds, less than 68 years")
    script = _SCRIPT
    for name, value in (
        ("SECONDS", str(int(seconds))),
        ("DEADLINE", str(int(deadline))),
        ("URL", url),
        ("RENEWED", str(RENEWED_S)),
    ):
        script = script.replace("@%s@" % name, value)
    if prerequisites:
        script += PREREQUISITES
    if extra.strip():
        script += extra.rstrip("\n") + "\n"
    if len(script) > MAX_SCRIPT or "\0" in script:
        raise UsageError(
            "the start script has %d characters; a market takes %d" % (len(script), MAX_SCRIPT),
            hint="Shorten the extra start commands, or fetch them from a URL in one line.",
        )
    return script
