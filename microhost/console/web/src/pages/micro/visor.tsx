export default function Later(_: { micro: unknown; reload: unknown }) {
  return null;
}
