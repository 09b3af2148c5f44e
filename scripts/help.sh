# Sourced by the other scripts: where the first word is -h or --help, prints what stands at their top, and ends them.
case "${1:-}" in
    -h | --help)
        awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
esac
