# Every code that a problem can have is in docs/checks.md.
cd "$GLMQ_SOURCE_DIR" || exit 1
grep -rhoE --include='*.c' -z 'GLMQ_(NOTE|WARNING|ERROR),[[:space:]]*([a-z]+ \? )?"[a-z0-9-]+"( : "[a-z0-9-]+")?' src |
    tr '\0' '\n' | grep -oE '"[^"]+"' | tr -d '"' | sort -u | while read -r code; do
    grep -q "\`$code\`" docs/checks.md || echo "not in docs/checks.md: $code"
done
