# Sourced by the other scripts: if the first argument is -h or --help, prints their header comment and exits.
case "${1:-}" in
    -h | --help)
        awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
esac
